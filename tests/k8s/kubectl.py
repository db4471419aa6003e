"""kubectl as the tests of the deployment run it, against the cluster of the fixture `cluster`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "k8s/deploy"
CONTROL, SANDBOXES = "envfarm", "envfarm-sandboxes"
SERVER = f"system:serviceaccount:{CONTROL}:envfarm"
"""Who the servers are to the API."""


def kubectl(
    kubeconfig: str | Path, *arguments: str | Path, stdin: str = "", ok: tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run it; a failure shows what it said."""
    done = subprocess.run(
        [str(ROOT / "scripts/cluster.sh"), "kubectl", *(str(argument) for argument in arguments)],
        input=stdin,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
    )
    assert done.returncode in ok, f"{arguments}: {done.stdout}{done.stderr}"
    return done
