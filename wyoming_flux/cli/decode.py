"""Audio that is not integer PCM in a WAV, through ffmpeg (a program of its own, not a dependency).

What it prints (``Duration: 00:00:03.56``, its last line as the reason) is that of ffmpeg 4 to 8.
"""

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import IO, Final

from wyoming_flux.audio import AudioFormat
from wyoming_flux.errors import InvalidAudio, os_reason
from wyoming_flux.settings import DEFAULT_SAMPLE_RATE

FORMAT: Final = AudioFormat(DEFAULT_SAMPLE_RATE, 2, 1)
"""What comes out of it."""

ReadBytes = Callable[[], Awaitable[bytes]]

_READ: Final = 64 * 1024
_DURATION: Final = re.compile(r"^ *Duration: (\d+):(\d+):(\d+\.?\d*)", re.MULTILINE)
_LONGEST_REASON: Final = 200


def is_installed() -> bool:
    """Tell whether ffmpeg is on the PATH."""
    return shutil.which("ffmpeg") is not None


class NoSound(InvalidAudio):
    """What ffmpeg was given has nothing to hear in it, as far as ffmpeg knows."""


class Decoder:
    """One ffmpeg at work. Made by :func:`decode`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, said: IO[bytes]) -> None:
        """Take a process that reads *name*, and whose standard error is the file *said*."""
        self._name = name
        self._process = process
        self._said = said

    async def read_bytes(self) -> bytes:
        """Return the next samples, ``b""`` at the end. Raises :class:`InvalidAudio`."""
        if self._process.stdout is None:
            raise RuntimeError("no pipe")
        if data := await self._process.stdout.read(_READ):
            return data
        if await self._process.wait() != 0:
            said = await self._read_said()
            if "does not contain any stream" in said:
                raise NoSound("ffmpeg finds no sound in it")
            lines = said.split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), "it does not say why")
            reason = reason.strip().removeprefix(f"{self._name}: ")[:_LONGEST_REASON]
            raise InvalidAudio(f"ffmpeg cannot read it: {reason}")
        return b""

    async def seconds(self) -> float | None:
        """Return the length, known once samples have come; None where ffmpeg does not know it."""
        found = _DURATION.search(await self._read_said())
        if found is None:
            return None
        hours, minutes, seconds = found.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)

    async def _read_said(self) -> str:
        def read() -> bytes:
            self._said.seek(0)
            return self._said.read()

        # A file and no pipe: nobody has to empty it while samples flow.
        return (await asyncio.to_thread(read)).decode(errors="replace")


async def decode(source: str | ReadBytes, stack: AsyncExitStack) -> Decoder:
    """Let ffmpeg read the file of this name, or these bytes; *stack* ends it.

    Raises :class:`InvalidAudio` where it cannot be started.
    """
    from_file = isinstance(source, str)
    # file: a name may hold a colon, or begin with a dash. The list: playlists lead nowhere else.
    name = f"file:{source}" if from_file else "pipe:0"
    said = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    try:
        process = await asyncio.create_subprocess_exec(
            *("ffmpeg", "-hide_banner", "-nostats", "-nostdin", "-v", "info"),
            *("-protocol_whitelist", "file,pipe", "-i", name, "-vn", "-sn", "-dn"),
            *("-f", "s16le", "-ac", str(FORMAT.channels), "-ar", str(FORMAT.rate), "pipe:1"),
            stdin=asyncio.subprocess.DEVNULL if from_file else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            # Ctrl-C is for us.
            start_new_session=True,
        )
    except OSError as error:
        raise InvalidAudio(f"ffmpeg cannot be started: {os_reason(error)}") from error
    stack.push_async_callback(_end, process)
    if not isinstance(source, str) and process.stdin is not None:
        feeder = asyncio.create_task(_feed(source, process.stdin), name="feed ffmpeg")
        stack.push_async_callback(_cancel, feeder)
    return Decoder(name, process, said)


async def _feed(read_bytes: ReadBytes, into: asyncio.StreamWriter) -> None:
    # Where ffmpeg has seen enough, or nothing that it knows, its exit code tells.
    with contextlib.suppress(ConnectionError):
        while data := await read_bytes():
            into.write(data)
            await into.drain()
    into.close()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (fault := task.exception()):
        raise fault


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
