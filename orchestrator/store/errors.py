"""What a failure of the database means: it is away, it cannot take what was sent, or a key is taken."""

from __future__ import annotations

import logging

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)

from envfarm.orchestrator.errors import Fenced, StoreError, Unwritable
from envfarm.toolbox.errors import Conflict, FarmError

log = logging.getLogger(__name__)


def is_down(error: BaseException) -> bool:
    """Whether it is the database that failed, not what was sent to it."""
    return isinstance(error, (OperationalError, InterfaceError, OSError, Fenced)) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def failure(name: str, error: BaseException) -> FarmError:
    """What a writer is told of an exception that its change met in the database `name`."""
    if isinstance(error, Fenced):
        return error
    if isinstance(error, IntegrityError):
        return Conflict("the same id was used by another request meanwhile")
    if _is_bad(error):
        log.error("database %s: a change cannot be written", name, exc_info=error)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return Unwritable(f"database {name} cannot take this change ({reason}); the server's log says more")
    log.error("database %s: %s", name, error)
    return StoreError(f"database {name}: {advice(error)}")


def _is_bad(error: BaseException) -> bool:
    """Whether it is what was sent; what nobody foresaw is a bug in that, too, and not the database's."""
    if isinstance(error, DBAPIError):
        code = getattr(error.orig, "sqlstate", None) or ""  # SQLAlchemy has no DataError of asyncpg's
        return isinstance(error, (DataError, ProgrammingError)) or code.startswith("22")
    return isinstance(error, StatementError) or not isinstance(error, (SQLAlchemyError, OSError))


def advice(error: BaseException) -> str:
    """One line that says what is wrong and what to do."""
    reason = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())[:200]
    for signs, line in _ADVICE:
        if any(sign in reason for sign in signs):
            return line.format(reason=reason)
    return reason


_ADVICE = (
    (("is locked",), "locked by another process; stop it, or set `database` to another file"),
    (
        ("not a database", "malformed"),
        "unreadable ({reason}); restore it from a backup, or set `database` to another file",
    ),
    (
        ("unable to open", "readonly", "Permission"),
        "{reason}; check the path and its permissions, or set `database`",
    ),
    (
        ("Connect call failed", "Connection refused", "not known", "Temporary failure in name resolution"),
        "no server answers ({reason}); start PostgreSQL, or correct host and port in `database`",
    ),
    (
        ("password authentication failed", "pg_hba.conf"),
        "the server refuses the login ({reason}); correct user and password in `database`, or allow them there",
    ),
    (("does not exist",), "{reason}; create it on the server (createdb, createuser), or correct `database`"),
    (
        ("permission denied", "no schema has been selected"),
        "{reason}; grant the user all rights on it, or name another in `database`",
    ),
    (("too many", "remaining connection slots"), "{reason}; raise PostgreSQL's max_connections, or run fewer servers"),
)
"""What a database's words mean for a person: the first line of which any sign is in them."""
