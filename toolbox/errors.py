"""What sandboxes, tools and tasks raise on purpose; the layers above have their own errors, below the same root.

FarmError
├── BadRequest              the caller's input is wrong; the message names the field and the fix
│   ├── NotFound            no such task, episode, file
│   ├── Conflict            the same id with another body, a wrong turn, a state that forbids the call
│   └── Gone                the episode ended or its lease expired
├── TaskError               a task folder that cannot be used; names the file and the fix
├── ImageError              an image that cannot be built or found; `log` is the end of the build's log
├── StorageError            the farm's own disk cannot take or give a file
├── FarmFull                no room now; `retry_after` says when to ask again, in seconds
└── FarmFault               a fault of the farm, never of the model: tried again, then a null reward
    └── SandboxError        of its sandboxes
        ├── BackendUnavailable  no engine, no cluster
        ├── SandboxStartError   the sandbox could not be started
        ├── ForkUnsupported     a live sandbox of this kind, or on this engine, cannot be forked; says what is missing
        └── SandboxLost         it died under us: killed, evicted, out of memory, engine gone; `cause` says which
            └── SandboxSilent   it runs and does not answer: the farm is too slow, or the agent broke it

FileProblem (not a FarmError) is the answer to a file operation that the *caller* got wrong: missing, a directory,
unreadable, no space. It is an observation.
"""

from __future__ import annotations

from typing import ClassVar


class FarmError(Exception):
    """Root of every error that envfarm raises on purpose."""

    type: ClassVar[str] = "infra_error"  # the `type` of the HTTP error shape
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = True


class BadRequest(FarmError):
    """The caller's input is wrong; the message names the field and the fix."""

    type = "bad_request"
    status = 400
    retryable = False


class NotFound(BadRequest):
    """There is nothing of that name."""

    type = "not_found"
    status = 404


class Conflict(BadRequest):
    """The call contradicts what already happened."""

    type = "conflict"
    status = 409


class Gone(BadRequest):
    """The episode ended, or its lease expired."""

    type = "gone"
    status = 410


class TaskError(FarmError):
    """A task folder that cannot be used; the message names the file and the fix."""

    type = "task_error"
    status = 422
    retryable = False


class ImageError(FarmError):
    """An image that cannot be built or found; `log` is the end of the build's log."""

    type = "image_error"
    retryable = False

    def __init__(self, message: str, *, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class StorageError(FarmError):
    """The farm's own disk cannot take or give a file; the message names the folder and the fix."""

    status = 503


class FarmFull(FarmError):
    """No room now; ask again after `retry_after` seconds."""

    type = "quota"
    status = 429

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FarmFault(FarmError):
    """A fault of the farm, never of the model: scoring tries again, and then the reward is null."""

    status = 503


class SandboxError(FarmFault):
    """A fault of the farm's sandboxes."""


class BackendUnavailable(SandboxError):
    """The engine or the cluster does not answer."""


class SandboxStartError(SandboxError):
    """The sandbox could not be started; `cause` is one of unschedulable, quota, image, network, slow, or empty."""

    def __init__(self, message: str, *, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class ForkUnsupported(SandboxError):
    """This sandbox cannot be forked; the message says what is missing and how to fix it."""

    type = "unsupported"
    status = 501
    retryable = False


class SandboxLost(SandboxError):
    """The sandbox died under us; `cause` says how.

    One of killed, oom, removed, engine, stream, silent, egress (its proxy died); in a cluster also evicted, preempted,
    node (lost or shut down), deadline, and claimed (another server of the farm took it while it waited warm).
    """

    retryable = False  # its episode ends with it

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class SandboxSilent(SandboxLost):
    """It runs and does not answer: the farm is too slow, or the agent broke it; this layer cannot tell which."""

    def __init__(self, message: str) -> None:
        super().__init__(message, cause="silent")


class FileProblem(Exception):
    """A file operation that its caller got wrong; `reason` is one of missing, directory, denied, space, other."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
