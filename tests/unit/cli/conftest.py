"""What the tests of the command line share: the program as a process, recordings, a server."""

import asyncio
import contextlib
import os
import re
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.simulator import Simulator

ROOT = Path(__file__).parents[3]
TIMEOUT = 30.0
TEXT = "turn on the living room light"
"""What the simulator hears in each sentence."""


@pytest.fixture
async def flux() -> AsyncIterator[Simulator]:
    """A Flux without a limit of speed."""
    async with Simulator(ingest_rate=0) as simulator:
        yield simulator


@pytest.fixture
def at(flux: Simulator) -> tuple[str, ...]:
    """The options that lead to ``flux``."""
    return ("--worker-url", flux.url, "--route", "workers-ai")


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


class Process:
    """A running command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seen: list[str] = []

    async def wait_for(self, pattern: str) -> str:
        """Wait for a line on standard error; return its first group."""
        assert self.process.stderr is not None
        async with asyncio.timeout(TIMEOUT):
            while line := (await self.process.stderr.readline()).decode():
                self.seen.append(line)
                if found := re.search(pattern, line):
                    return found.group(found.lastindex or 0)
        raise AssertionError(f"{pattern} did not come: {self.seen}")

    async def end(self, signal: int | None = None, stdin: bytes | None = None) -> Result:
        """Send a signal, if any, and wait for the end."""
        if signal is not None:
            self.process.send_signal(signal)
        async with asyncio.timeout(TIMEOUT):
            out, err = await self.process.communicate(stdin)
        assert self.process.returncode is not None
        return Result(
            self.process.returncode,
            (out or b"").decode(),
            "".join(self.seen) + (err or b"").decode(),
        )


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start ``wyoming-flux`` with arguments, and environment variables by keyword.

    *redirect* is what a shell is told at the end of the line, as ``>&-``.
    """
    processes: list[asyncio.subprocess.Process] = []

    async def run(
        *arguments: str,
        stdin: int = asyncio.subprocess.PIPE,
        stdout: int = asyncio.subprocess.PIPE,
        stderr: int = asyncio.subprocess.PIPE,
        redirect: str = "",
        **env: str,
    ) -> Process:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
        shell = ("sh", "-c", f'exec "$@" {redirect}', "sh") if redirect else ()
        process = await asyncio.create_subprocess_exec(
            *(*shell, sys.executable, "-m", "wyoming_flux", *arguments),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=tmp_path,
            env={**inherited, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path), **env},
        )
        processes.append(process)
        return Process(process)

    yield run
    for process in processes:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(start: Start) -> Run:
    """Run ``wyoming-flux`` to its end."""

    async def to_the_end(*arguments: str, stdin: bytes | None = None, **more: Any) -> Result:
        process = await start(*arguments, **more)
        return await process.end(stdin=stdin)

    return to_the_end


Serve = Callable[..., Awaitable[tuple[Process, str]]]


@pytest.fixture
def serve(start: Start) -> Serve:
    """Start a server on a free port in front of a Workers AI at this URL; return it and its URI."""

    async def run(url: str, *arguments: str, **env: str) -> tuple[Process, str]:
        process = await start(
            *("serve", "--uri", "tcp://127.0.0.1:0"),
            *("--worker-url", url, "--route", "workers-ai", *arguments),
            **env,
        )
        return process, await process.wait_for(r"Listening on ([^\s\"]+)")

    return run


MakeWav = Callable[..., str]


@pytest.fixture
def wav(tmp_path: Path) -> MakeWav:
    """Write a WAV file of this PCM and return its path."""

    def write(
        pcm: bytes,
        name: str = "speech.wav",
        *,
        rate: int = 16000,
        bits: int = 16,
        channels: int = 1,
        tag: int = 1,
    ) -> str:
        align = bits // 8 * channels
        fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
        chunks = b"fmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(pcm))
        path = tmp_path / name
        path.write_bytes(b"RIFF" + struct.pack("<I", 36 + len(pcm)) + b"WAVE" + chunks + pcm)
        return str(path)

    return write
