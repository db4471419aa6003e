"""Times Playwright's own video of a page. Runs in the renderer's image: `python record_peer.py PAGE SECONDS`.

Prints one number: wall-clock seconds from the browser's start to the whole video.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Route, ViewportSize, sync_playwright


def main(page: str, seconds: float) -> float:
    """Record for as long as page time is to be."""
    html = Path(page).read_text()
    size: ViewportSize = {"width": 1280, "height": 720}

    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="text/html", body=html)

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium-headless-shell")
        context = browser.new_context(viewport=size, record_video_dir=folder, record_video_size=size)
        context.route("**/*", answer)
        tab = context.new_page()
        tab.goto("https://app.test/")
        tab.wait_for_timeout(seconds * 1000)
        context.close()
        took = time.monotonic() - begin
        browser.close()
        if not list(Path(folder).glob("*.webm")):
            raise SystemExit("no video was made")
        return took


if __name__ == "__main__":
    sys.stdout.write(str(main(sys.argv[1], float(sys.argv[2]))))
