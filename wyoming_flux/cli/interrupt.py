"""What Ctrl-C does: the first ends a command in order, the second at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .options import INTERRUPTED

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], first: Callable[[], bool] = lambda: False) -> T:
    """Run *main* and return its result; Ctrl-C cancels it, unless *first* says it is its own.

    Raises :class:`KeyboardInterrupt` where it was cancelled. A second Ctrl-C does not wait: what is
    to be closed in order may take seconds, and a thread may wait for a file for ever.
    """

    async def watched() -> T:
        task = asyncio.current_task()
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            if interrupted:
                os._exit(INTERRUPTED)
            interrupted = True
            if not first() and task is not None:
                task.cancel()

        # The loop takes it away when it closes, after the last thread has ended.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        try:
            return await main
        except asyncio.CancelledError:
            if interrupted:
                raise KeyboardInterrupt from None
            raise

    return asyncio.run(watched())


def stop_on_signal(stopping: asyncio.Event) -> None:
    """Set *stopping* on SIGTERM or Ctrl-C, which is how a server ends; a second one ends it now."""

    def stop() -> None:
        if stopping.is_set():
            os._exit(0)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
