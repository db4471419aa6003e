"""Times SWE-ReX. Runs in a virtual environment that has `swe-rex`, not in ours: `python swerex_peer.py IMAGE ROUNDS`.

Prints one JSON object: `start`, `run_in_session` and `execute`, lists of seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

from swerex.deployment.docker import DockerDeployment
from swerex.runtime.abstract import BashAction, Command, CreateBashSessionRequest


async def measure(image: str, rounds: int) -> dict[str, list[float]]:
    """Start one deployment and time both of its ways to run a command."""
    begin = time.perf_counter()
    deployment = DockerDeployment(image=image, pull="never", startup_timeout=120)
    await deployment.start()
    times: dict[str, list[float]] = {"start": [time.perf_counter() - begin], "run_in_session": [], "execute": []}
    try:
        await deployment.runtime.create_session(CreateBashSessionRequest())
        for _ in range(rounds):
            begin = time.perf_counter()
            await deployment.runtime.run_in_session(BashAction(command="true"))
            times["run_in_session"].append(time.perf_counter() - begin)
        for _ in range(rounds):
            begin = time.perf_counter()
            await deployment.runtime.execute(Command(command=["true"]))
            times["execute"].append(time.perf_counter() - begin)
    finally:
        await deployment.stop()
    return times


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.stdout.write(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
