"""A loop whose clock runs fast, so that real sockets meet all deadlines in their proportion."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.bench.clock import ScaledLoop

SPEED = 10.0


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
