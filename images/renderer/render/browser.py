"""Chromium, one process tree for one page, with no way out: its flags, its context, and what it may ask for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, Playwright, ViewportSize

from envfarm.tasks.action import Mode

CHROMIUM = "/usr/bin/chromium-headless-shell"
_WITHOUT = [  # Chromium takes the last list only, so what Playwright turns off for our sake is named again
    "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "MediaRouter", "OptimizationHints", "PaintHolding",
    "ThirdPartyStoragePartitioning",
    # After a click it puts off a page's tasks for 50 ms of page time, which waits for the fetch that the click began.
    "DeferRendererTasksAfterInput",
]  # fmt: skip
COMMON = [
    f"--disable-features={','.join(_WITHOUT)}",
    "--disable-blink-features=AutomationControlled",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--js-flags=--random-seed=1 --max-old-space-size=768",
    "--mute-audio",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",  # WebGL has SwiftShader; all else is drawn without it in half the time
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
        chromium_sandbox=await _namespaces(),
        handle_sigint=False,
        handle_sigterm=False,
        timeout=30_000,
    )


async def _namespaces() -> bool:
    """Whether this machine lets it make user namespaces."""
    tried = await asyncio.create_subprocess_exec("unshare", "-U", "true", stderr=asyncio.subprocess.DEVNULL)
    return await tried.wait() == 0


async def context(
    browser: Browser, viewport: tuple[int, int], *, phone: bool = False, videos: Path | None = None
) -> BrowserContext:
    """A clean profile that looks like a person's."""
    version = browser.version.split(".")[0]
    size: ViewportSize = {"width": viewport[0], "height": viewport[1]}
    system = "Linux; Android 15; Pixel 9" if phone else "X11; Linux x86_64"
    made = await browser.new_context(
        viewport=size,
        user_agent=f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 "
        f"{'Mobile ' if phone else ''}Safari/537.36",
        is_mobile=phone,
        has_touch=phone,
        locale="en-US",
        timezone_id="UTC",
        service_workers="block",
        accept_downloads=False,
        record_video_dir=videos,
        record_video_size=size if videos else None,
    )
    made.set_default_timeout(5_000)
    return made
