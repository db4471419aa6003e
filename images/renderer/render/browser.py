"""Chromium, one process tree for one page, with no way out: its flags, its context, and what it may ask for."""

from __future__ import annotations

import subprocess

from playwright.async_api import Browser, BrowserContext, Playwright

from envfarm.tasks.action import Mode

CHROMIUM = "/usr/bin/chromium-headless-shell"
COMMON = [
    "--disable-blink-features=AutomationControlled",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--js-flags=--random-seed=1 --max-old-space-size=768",
    "--mute-audio",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--font-render-hinting=none",
    "--hide-scrollbars",
]
EXACT = [
    "--deterministic-mode",
    "--enable-begin-frame-control",
    "--run-all-compositor-stages-before-draw",
    "--disable-new-content-rendering-timeout",
    "--disable-threaded-animation",
    "--disable-threaded-scrolling",
    "--disable-checker-imaging",
    "--disable-image-animation-resync",
    "--enable-surface-synchronization",
]


async def launch(playwright: Playwright, mode: Mode) -> Browser:
    """Start it; its own sandbox is on where this machine lets it make namespaces."""
    return await playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=COMMON + (EXACT if mode == "exact" else []),
        chromium_sandbox=subprocess.run(["unshare", "-U", "true"], capture_output=True, check=False).returncode == 0,
        handle_sigint=False,
        handle_sigterm=False,
        timeout=30_000,
    )


async def context(browser: Browser, viewport: tuple[int, int], videos: str | None = None) -> BrowserContext:
    """A clean profile that looks like a person's."""
    version = browser.version.split(".")[0]
    size = {"width": viewport[0], "height": viewport[1]}
    agent = f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    made = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        user_agent=agent,
        locale="en-US",
        timezone_id="UTC",
        service_workers="block",
        accept_downloads=False,
        record_video_dir=videos,
        record_video_size={"width": size["width"], "height": size["height"]} if videos else None,
    )
    made.set_default_timeout(5_000)
    return made
