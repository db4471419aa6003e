"""Inspect's own checks of a sandbox provider, all of them, through the farm's; run by pytest in Inspect's Python."""

import pytest
from inspect_ai.util._sandbox.registry import registry_find_sandboxenv
from inspect_ai.util._sandbox.self_check import *  # noqa: F403

pytestmark = pytest.mark.anyio
TASKS = {"root": "terminal/makefile-only-works-twice", "user": "terminal/service-that-stays-up"}
CANNOT = {
    "root": {  # may read and write whatever it likes
        "test_read_file_not_allowed",
        "test_write_text_file_without_permissions",
        "test_write_binary_file_without_permissions",
    },
    "user": {"test_exec_as_user"},  # may not become another one
}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module", params=list(TASKS))
async def opened(request, anyio_backend):
    provider = registry_find_sandboxenv("envfarm")
    environments = await provider.sample_init("checks", TASKS[request.param], {})
    yield environments["default"]
    await provider.sample_cleanup("checks", TASKS[request.param], environments, False)


@pytest.fixture
def sandbox_env(request, opened):
    who = request.node.callspec.params["opened"]
    if request.node.originalname in CANNOT[who]:
        request.applymarker(pytest.mark.xfail(strict=True))
    return opened
