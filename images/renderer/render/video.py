"""The video: frames piped into ffmpeg as they come, so that the encoder works beside the browser."""

from __future__ import annotations

import asyncio
from pathlib import Path


class Video:
    """A WebM of a fixed rate and size; frames of another size are fitted in."""

    def __init__(self, path: Path, fps: int, size: tuple[int, int]) -> None:
        self.path, self.fps, self.size = path, fps, size
        self.process: asyncio.subprocess.Process | None = None

    async def add(self, frame: bytes) -> None:
        """One frame, JPEG."""
        if self.process is None:
            self.process = await self._start()
        if self.process.stdin is not None and not self.process.stdin.is_closing():
            self.process.stdin.write(frame)
            await self.process.stdin.drain()

    async def finish(self) -> str | None:
        """The file's name; None when there was no frame or ffmpeg failed."""
        if self.process is None or self.process.stdin is None:
            return None
        self.process.stdin.close()
        return self.path.name if await self.process.wait() == 0 else None

    async def _start(self) -> asyncio.subprocess.Process:
        width, height = (side // 2 * 2 for side in self.size)
        fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease,pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"
        return await asyncio.create_subprocess_exec(
            "ffmpeg", "-loglevel", "error", "-y", "-f", "image2pipe", "-c:v", "mjpeg", "-framerate", str(self.fps),
            "-i", "-", "-vf", fit, "-pix_fmt", "yuv420p", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8",
            "-b:v", "1500k", "-crf", "20", "-threads", "1", str(self.path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
