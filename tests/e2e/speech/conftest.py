"""Parts for speech from end to end: the program as processes, and a Flux with ears."""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.simulator import Simulator

ROOT = Path(__file__).parents[3]
TIMEOUT = 60.0


class Program:
    """``wyoming-flux`` as processes that are ended with the test."""

    def __init__(self) -> None:
        self.processes: list[asyncio.subprocess.Process] = []
        self.log: list[str] = []

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wyoming_flux", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**inherited, "PYTHONPATH": str(ROOT)},
        )
        self.processes.append(process)
        return process

    async def serve(self, flux: Simulator, *options: str) -> str:
        """Start a server in front of ``flux`` and return its URI."""
        server = await self.start(
            *("serve", "--uri", "tcp://127.0.0.1:0", "--worker-url", flux.url),
            *("--route", "workers-ai", *options),
        )
        assert server.stderr is not None
        async with asyncio.timeout(TIMEOUT):
            while line := (await server.stderr.readline()).decode():
                self.log.append(line)
                if found := re.search(r"Listening on (\S+)", line):
                    return found.group(1)
        raise AssertionError(f"the server did not start: {self.log}")

    async def transcribe(self, file: Path, *options: str) -> dict[str, Any]:
        """Transcribe a file and return the answer."""
        process = await self.start("transcribe", str(file), "--json", *options)
        async with asyncio.timeout(TIMEOUT):
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        answer: dict[str, Any] = json.loads(out)
        return answer

    async def end(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.communicate()


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    """The program under test."""
    program = Program()
    yield program
    await program.end()


FluxWithEars = Callable[..., Awaitable[Simulator]]


@pytest.fixture
async def flux_with_ears() -> AsyncIterator[FluxWithEars]:
    """Start a simulator that understands speech; arguments are the simulator's."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> Simulator:
            return await stack.enter_async_context(Simulator(recognizer="local", **options))

        yield start


@pytest.fixture
def samples() -> Path:
    """The folder of the samples."""
    return ROOT / "samples"
