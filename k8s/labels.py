"""How a pod says whose it is and what for: its labels and annotations."""

from __future__ import annotations

import hashlib
import re

PREFIX = "envfarm.io/"
FARM, OWNER, LEASE, STATE = f"{PREFIX}farm", f"{PREFIX}owner", f"{PREFIX}lease", f"{PREFIX}state"
KIND, NETWORK = f"{PREFIX}kind", f"{PREFIX}network"
"""Labels. Pods with equal `KIND`, a hash, may stand in for each other. `STATE` is leased or warm."""
SPEC, SECRET, IMAGE = f"{PREFIX}spec", f"{PREFIX}secret", f"{PREFIX}image"
"""Annotations, besides owner and lease in full. `IMAGE` is the image's user and working directory."""
ADDRESS = f"{PREFIX}egress"
"""Another: of a sandbox with an allowlist, where its proxy is."""
WARM, LEASED = "warm", "leased"
EGRESS = "egress"
"""The `NETWORK` of a proxy. It has no owner but its sandbox, in Kubernetes' own sense, and goes with that."""

_ALLOWED = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")


def value(text: str) -> str:
    """A label's value that stands for any text: itself where that is allowed, else a hash."""
    if _ALLOWED.match(text) and not text.startswith("hash-"):
        return text
    return "hash-" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
