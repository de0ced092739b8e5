"""A real Home Assistant for each test, with a simulated Flux, and what stands around both."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.e2e.hass import stage as stage_module
from tests.e2e.hass.instance import Instance
from tests.support.parts import provide


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install the satellite if its test was selected."""
    provide("satellite", session, where="::test_real_satellite")


@pytest.fixture(autouse=True)
def _sockets(socket_enabled: None) -> None:
    """Let the tests use loopback; Home Assistant's test tools allow nothing else."""


@pytest.fixture
def stage() -> ModuleType:
    """Return what stands around Home Assistant."""
    return stage_module


@pytest.fixture
async def worker() -> AsyncGenerator[stage_module.Worker]:
    """A Worker with a simulated Flux behind it."""
    async with stage_module.Worker(token=stage_module.TOKEN) as started:
        yield started


@pytest.fixture
async def start(tmp_path: Path) -> AsyncGenerator[Callable[..., Awaitable[Instance]]]:
    """Return what starts a real Home Assistant."""
    async with AsyncExitStack() as stack:

        async def begin(**arguments: Any) -> Instance:
            folder = tmp_path / "config"
            folder.mkdir()
            return await stack.enter_async_context(Instance(folder, **arguments))

        yield begin
