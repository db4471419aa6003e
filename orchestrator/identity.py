"""Who this server is: an id that outlives restarts, and a lock so that no second server takes the same folder."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from envfarm.orchestrator.errors import DataInUse


class Identity:
    """The claim of one server on a data folder, from construction until `release`.

    Raises DataInUse when a living server holds it. The claim ends with the process, however it dies.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(data / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise DataInUse(f"{data}: another envfarm server uses this data folder; stop it or set `data`") from None
        self.owner = _server_id(data / "server-id")

    def release(self) -> None:
        """Let another server have the folder."""
        os.close(self._fd)


def _server_id(path: Path) -> str:
    """The id in a file, made when there is none."""
    if path.exists() and (known := path.read_text().strip()):
        return known
    new = uuid.uuid4().hex[:12]
    temporary = path.with_suffix(".new")
    temporary.write_text(new + "\n")
    temporary.replace(path)
    return new
