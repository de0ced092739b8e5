"""A loop whose clock runs fast, so that real sockets meet all deadlines in their proportion."""

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

SPEED = 10.0
"""Seconds of the loop's clock in one real second."""


class _FastSelector(selectors.DefaultSelector):
    """Waits a tenth of what it is asked to."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return super().select(None if timeout is None else timeout / SPEED)


class FastLoop(asyncio.SelectorEventLoop):
    """All that waits in this loop, deadlines and simulator alike, waits a tenth of the time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.faults: list[dict[str, Any]] = []
        super().__init__(_FastSelector())
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        return (time.monotonic() - self._began) * SPEED


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
        with asyncio.Runner(loop_factory=FastLoop) as runner:
            result = runner.run(_check_nothing_left(main))
            loop = runner.get_loop()
            assert isinstance(loop, FastLoop)
            assert not loop.faults, loop.faults
        return result

    return run
