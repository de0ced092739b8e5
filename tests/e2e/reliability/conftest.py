"""A loop whose clock runs fast, for real sockets with deadlines scaled; servers as processes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bench.clock import ScaledLoop
from tests.support.processes import Process

SPEED = 6.0


async def _check_nothing_left(main: Callable[[], Awaitable[Any]]) -> Any:
    result = await main()
    for _ in range(5):
        # Transports that were closed go in the next rounds.
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left over: {left}"
    return result


@pytest.fixture
def run_fast() -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Run a coroutine function with a fast clock; fails on a left task or a lost error."""

    def run(main: Callable[[], Awaitable[Any]]) -> Any:
        with asyncio.Runner(loop_factory=lambda: ScaledLoop(SPEED)) as runner:
            result = runner.run(_check_nothing_left(main))
            loop = runner.get_loop()
            assert isinstance(loop, ScaledLoop)
            assert not loop.faults, loop.faults
        return result

    return run


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Start servers with options, which end with the test; none may have logged a traceback.

    ``ready=False``: do not wait until it listens.
    """
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, ready: bool = True) -> Process:
            server = await Process.serve(*arguments, ready=ready, home=tmp_path)
            return await stack.enter_async_context(server)

        yield start
