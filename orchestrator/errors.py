"""What the server raises on purpose besides what sandboxes, tools and tasks do (envfarm.toolbox.errors).

FarmError
├── BadRequest
│   ├── SettingsError   a setting that cannot be used; names where it stands and the fix
│   ├── Unauthorized    no token, or one that is not known
│   └── Forbidden       a token that is not for this
├── Elsewhere           another server drives this episode
├── Moving              an episode is between two servers, or its server is about to stop
├── StoreError          the database cannot be used
│   └── Fenced          other servers took this one for gone, so it writes no more
├── Unwritable          the database cannot take this one change
├── ShuttingDown        the server ends (envfarm.orchestrator.farm.steps)
├── DataInUse           another server works in the data folder
├── PortBusy            something else listens on the port
└── CallFailed          to a command: the server failed, or does not answer (envfarm.orchestrator.cli.remote)
"""

from __future__ import annotations

from envfarm.toolbox.errors import BadRequest, FarmError


class SettingsError(BadRequest):
    """A setting that cannot be used; the message names where it stands and the fix."""


class Unauthorized(BadRequest):
    """No token, or one that is not known."""

    type = "unauthorized"
    status = 401


class Forbidden(BadRequest):
    """The token is known, but not for this."""

    type = "forbidden"
    status = 403


class Elsewhere(FarmError):
    """Another server drives this episode."""

    status = 421
    retryable = False  # here; its own server answers


class Moving(FarmError):
    """An episode is between two servers, or its server is about to stop; `retry_after` is in seconds."""

    status = 503
    retry_after = 1.0


class StoreError(FarmError):
    """The database cannot be used; the message is one line that names the fix."""

    status = 503


class Fenced(StoreError):
    """Other servers took this one for gone and took over its episodes: it writes nothing until it signs on again."""


class Unwritable(FarmError):
    """The database can be used, but not take this change: a fault of ours, and the same again next time."""

    retryable = False


class DataInUse(FarmError):
    """Another server works in this data folder."""


class PortBusy(FarmError):
    """Something else listens on the port."""
