"""A loop whose clock runs fast, for real sockets with deadlines scaled; servers as processes."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench.clock import ScaledLoop

ROOT = Path(__file__).parents[3]
SPEED = 6.0
PATIENCE = 30.0
"""Real seconds after which a test that waits has failed."""


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


class Process:
    """``wyoming-flux serve`` as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []
        self.uri = ""
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.log.append(line.rstrip())
            self._news.set()
        self._news.set()

    async def wait_for(self, pattern: str) -> str:
        """Wait for a line of the log; return its first group, or all of it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.log:
                    if found := re.search(pattern, line):
                        return found.group(found.lastindex or 0)
                if self._reading.done():
                    raise AssertionError(f"{pattern} did not come: {self.log}")
                self._news.clear()
                await self._news.wait()

    async def end(self, number: int | None = None) -> int:
        """Send a signal, if any, and wait for the end; return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await self._reading
        return code

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Start servers with options, which end with the test; none may have logged a traceback.

    ``ready=False``: do not wait until it listens.
    """
    processes: list[Process] = []

    async def start(*arguments: str, ready: bool = True) -> Process:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
        arguments = ("--route", "workers-ai", *arguments)
        if "--uri" not in arguments:
            arguments = ("--uri", "tcp://127.0.0.1:0", *arguments)
        process = Process(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "wyoming_flux", "serve", *arguments),
                stderr=asyncio.subprocess.PIPE,
                cwd=tmp_path,
                env={**inherited, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)},
            )
        )
        processes.append(process)
        if ready:
            process.uri = await process.wait_for(r"Listening on (\S+)")
        return process

    yield start
    for process in processes:
        if process.process.returncode is None:
            process.process.kill()
        await process.end()
        assert not [line for line in process.log if "Traceback" in line], process.log
