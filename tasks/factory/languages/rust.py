"""Rust: the crates of a lock file, vendored, so that cargo needs no index."""

from __future__ import annotations

from collections.abc import Mapping

from envfarm.tasks.factory.languages.base import Environment, Project, shell
from envfarm.tasks.runners.base import Runner
from envfarm.tasks.runners.cargo import Cargo
from envfarm.toolbox.sandboxes.base import Sandbox

_HOME = "/usr/local/cargo"
_TARGET = "/var/cache/target"
_VENDORED = r"""printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "%s"\n' """


class Rust:
    """cargo, offline after the build."""

    name = "rust"
    marks = frozenset({"Cargo.toml"})

    def runner(self, project: Project) -> Runner:
        """`cargo test`."""
        return Cargo()

    def environment(self, project: Project, runner: Runner, pins: Mapping[str, bytes]) -> Environment:
        """The build cache is warmed with the crate's dependencies and the old release."""
        # Before 1.68 cargo reads crates.io's index with git, unless told otherwise in a way that was not stable yet.
        cargo = "RUSTC_BOOTSTRAP=1 cargo -Z sparse-registry"
        config = f"{_HOME}/config.toml"
        lock = [] if pins else ["rm -f Cargo.lock", f"{cargo} generate-lockfile"]
        lock += [f"{cargo} update -p {name.replace('@', ' --precise ')}" for name in project.extra if not pins]
        steps = "\n".join(
            (
                f"ENV CARGO_HOME={_HOME} CARGO_TARGET_DIR={_TARGET}",
                "COPY Cargo.lock /testbed/Cargo.lock" if pins else "",
                shell(
                    f"mkdir -p {_HOME}",
                    *lock,
                    f"{cargo} vendor --locked {_HOME}/vendor > /dev/null",
                    f"{_VENDORED}{_HOME}/vendor > {config}",
                    f"rm -rf {_HOME}/registry",
                    "{ cargo test --offline --no-run --lib --bins --tests || true; }",
                    f"chmod -R a+rwX {_HOME} {_TARGET}",
                ),
                "ENV CARGO_NET_OFFLINE=true",
            )
        )
        return Environment("rust:1.63-bullseye", steps, dict(pins))

    async def pins(self, sandbox: Sandbox) -> Mapping[str, bytes]:
        """cargo's lock file."""
        return {"Cargo.lock": await sandbox.read("/testbed/Cargo.lock")}
