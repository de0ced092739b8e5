"""An event loop whose clock runs faster or slower than the world's.

Sockets stay real, and every wait and deadline, ours and the libraries', keeps its proportion.
"""

import asyncio
import selectors
import time
from typing import Any


class _ScaledSelector(selectors.DefaultSelector):
    """Waits for what a time in the loop's clock is in the world's."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[Any]:
        return super().select(None if timeout is None else timeout / self._speed)


class ScaledLoop(asyncio.SelectorEventLoop):
    """``speed`` seconds of its clock pass in one of the world's."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = time.monotonic()
        self.faults: list[dict[str, Any]] = []
        """What went wrong where nobody could catch it."""
        super().__init__(_ScaledSelector(speed))
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        """Return the loop's time."""
        return (time.monotonic() - self._began) * self._speed
