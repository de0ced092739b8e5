"""``wyoming-flux`` as processes, and a Wyoming client over a raw socket; every wait is bounded.

Both know the product from outside only: its command line, its log, its port.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 30.0
"""Seconds after which a test that waits has failed."""
RATE: Final = 16000
FORMAT: Final = {"rate": RATE, "width": 2, "channels": 1}


class Process:
    """A process of ours: its log as lines and as a file, its end, its memory."""

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path | None = None) -> None:
        """Take over a process whose standard error is a pipe."""
        self.process = process
        self.log: list[str] = []
        self.uri = ""
        """Where it listens; empty until it is ready."""
        self._log_file = log_file
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        *arguments: str,
        home: Path,
        environment: Mapping[str, str] | None = None,
        log_file: Path | None = None,
        stdin: int | None = asyncio.subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> Self:
        """Start ``wyoming-flux`` with these arguments; its state is kept below *home*."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
        path = os.pathsep.join([*(environment or {}).get("PYTHONPATH", "").split(), str(ROOT)])
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "wyoming_flux", *arguments),
                stdin=stdin,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
                cwd=home,
                env={
                    **inherited,
                    **(environment or {}),
                    "PYTHONPATH": path,
                    "XDG_STATE_HOME": str(home),
                },
            ),
            log_file,
        )

    @classmethod
    async def simulate(cls, *arguments: str, **options: Any) -> Self:
        """Start ``wyoming-flux simulate`` on a free port, and wait until it listens."""
        made = await cls.start(
            *("simulate", "--uri", "ws://127.0.0.1:0", *arguments),
            stdout=asyncio.subprocess.PIPE,
            **options,
        )
        try:
            assert made.process.stdout is not None
            async with asyncio.timeout(PATIENCE):
                line = (await made.process.stdout.readline()).decode()
            found = re.search(r"listening on (\S+)", line)
            assert found, line
            made.uri = found[1]
        except BaseException:
            await made.kill()
            raise
        return made

    @classmethod
    async def serve(cls, *arguments: str, ready: bool = True, **options: Any) -> Self:
        """Start ``wyoming-flux serve`` on a free port; *ready*: wait until it listens."""
        if "--uri" not in arguments:
            arguments = ("--uri", "tcp://127.0.0.1:0", *arguments)
        made = await cls.start("serve", *_routed(arguments), **options)
        if ready:
            try:
                made.uri = await made.wait_for(r"Listening on (\S+)")
            except BaseException:
                await made.kill()
                raise
        return made

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode(errors="replace"):
            self.log.append(line.rstrip())
            if self._log_file is not None:
                with self._log_file.open("a", encoding="utf-8") as file:
                    file.write(line)
            self._news.set()
        self._news.set()

    async def wait_for(self, pattern: str, *, patience: float = PATIENCE) -> str:
        """Wait for a line of the log; return its first group, or all of it."""
        async with asyncio.timeout(patience):
            while True:
                for line in self.log:
                    if found := re.search(pattern, line):
                        return found.group(found.lastindex or 0)
                if self._reading.done():
                    raise AssertionError(f"{pattern} did not come: {self.log}")
                self._news.clear()
                await self._news.wait()

    async def end(self, number: int | None = None, *, patience: float = PATIENCE) -> int:
        """Send a signal, if any, and wait for the end; return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(patience):
            code = await self.process.wait()
            await self._reading
        return code

    async def kill(self) -> None:
        """End it in any case, and have its log to the end."""
        if self.process.returncode is None:
            self.process.kill()
        await self.end()

    async def stopped(self, seconds: float) -> None:
        """Stop the process for so long, as a swapping machine or a paused one does."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.process.send_signal(signal.SIGCONT)

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def cpu_seconds(self) -> float:
        """What it has computed since its start."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.kill()
        if error is None:
            assert not self.tracebacks, self.log

    @property
    def tracebacks(self) -> list[str]:
        """Lines of the log that begin a traceback."""
        return [line for line in self.log if "Traceback" in line]


def _routed(arguments: Sequence[str]) -> Sequence[str]:
    """Take a loopback address for Workers AI, unless the arguments say something else."""
    return arguments if "--route" in arguments else ("--route", "workers-ai", *arguments)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command said and how it ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    ended: float
    """Of the monotonic clock."""


async def transcribe(
    *arguments: str, home: Path, stdin: bytes | None = None, patience: float = 60.0, **options: Any
) -> Ran:
    """Run ``wyoming-flux transcribe``; *stdin* goes through a pipe, None is the null device."""
    began = time.monotonic()
    pipe = asyncio.subprocess.PIPE
    made = await Process.start(
        *("transcribe", *_routed(arguments)),
        home=home,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else pipe,
        stdout=pipe,
        **options,
    )
    async with made:
        assert made.process.stdout is not None
        feeding = asyncio.create_task(_write(made.process.stdin, stdin or b""))
        try:
            async with asyncio.timeout(patience):
                stdout = (await made.process.stdout.read()).decode()
                code = await made.end()
                ended = time.monotonic()
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
    return Ran(code, stdout, "\n".join(made.log), ended - began, ended)


async def _write(writer: asyncio.StreamWriter | None, data: bytes) -> None:
    if writer is None:
        return
    try:
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:
        pass  # the command read no further


def write_wav(path: Path, pcm: bytes) -> Path:
    """Write linear16 mono at 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)
    return path


@dataclass(frozen=True, slots=True)
class Received:
    """An event of the server, and when it came (monotonic clock)."""

    at: float
    kind: str
    data: dict[str, Any]


@dataclass
class WyomingClient:
    """Speaks Wyoming over a raw socket: lines of JSON, then data, then payload."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    events: list[Received] = field(default_factory=list)
    closed: bool = False
    ended_at: float = 0.0
    """When the last sample of what was given to be said was sent (monotonic clock)."""
    _taken: int = 0

    def __post_init__(self) -> None:
        """Collect events from the start."""
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, uri: str) -> Self:
        """Connect to ``tcp://HOST:PORT`` or ``unix:///PATH``."""
        address = uri.partition("://")[2]
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(PATIENCE):
            if uri.startswith("unix:"):
                return cls(*await asyncio.open_unix_connection(address))
            return cls(*await asyncio.open_connection(host.strip("[]"), int(port)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Close the connection at once, as assistants do."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self.writer.transport.abort()

    async def _read(self) -> None:
        try:
            while line := await self.reader.readline():
                header = json.loads(line)
                data = dict(header.get("data") or {})
                if size := header.get("data_length") or 0:
                    data |= json.loads(await self.reader.readexactly(size))
                if size := header.get("payload_length") or 0:
                    await self.reader.readexactly(size)
                self.events.append(Received(time.monotonic(), header["type"], data))
                self._news.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the server was ended, or had enough
        finally:
            self.closed = True
            self._news.set()

    async def send(
        self, kind: str, data: Mapping[str, Any] | None = None, pcm: bytes = b""
    ) -> None:
        """Send one event."""
        body = json.dumps(data).encode() if data else b""
        header = {"type": kind, "version": "1.8.0"}
        sizes = {"data_length": len(body)} if body else {}
        sizes |= {"payload_length": len(pcm)} if pcm else {}
        self.writer.write(json.dumps(header | sizes).encode() + b"\n" + body + pcm)
        await self.writer.drain()

    async def begin(self, **wishes: Any) -> None:
        """Begin an utterance: ``transcribe`` with these fields, and ``audio-start``."""
        await self.send("transcribe", wishes)
        await self.send("audio-start", FORMAT)

    async def chunk(self, pcm: bytes) -> None:
        """Send one chunk of audio."""
        await self.send("audio-chunk", FORMAT, pcm)

    async def stop(self) -> None:
        """Say that the audio is over."""
        await self.send("audio-stop")

    async def fast(self, pcm: bytes, *, chunk: float = 0.1) -> None:
        """Send audio as fast as the server takes it."""
        size = 2 * round(chunk * RATE)
        for at in range(0, len(pcm), size):
            await self.chunk(pcm[at : at + size])
        self.ended_at = time.monotonic()

    async def live(
        self,
        pcm: bytes,
        *,
        chunk: float = 0.02,
        stalls: Sequence[tuple[float, float]] = (),
        open_for: float = 0.0,
    ) -> None:
        """Send audio as a microphone has it, until it is all said or the answer is there.

        *stalls*: at a second of the audio the network stands still for so many seconds; nothing is
        lost, what was recorded meanwhile follows at once. *open_for*: seconds for which the
        microphone then stays open in a silent room, unless the answer comes first.
        """
        size = 2 * round(chunk * RATE)
        began = time.monotonic()
        waits = sorted(stalls)
        spoken = len(pcm)
        pcm += bytes(2 * round(open_for * RATE))
        for at in range(0, len(pcm), size):
            end = min(at + size, len(pcm))
            due = began + end / 2 / RATE
            while waits and due - began > waits[0][0]:
                begins, lasts = waits.pop(0)
                await self._wait_until(began + begins + lasts)
            await self._wait_until(due)
            if at < spoken:
                self.ended_at = time.monotonic()
            if self.answered or self.closed:
                return
            await self.chunk(pcm[at:end])

    async def _wait_until(self, due: float) -> None:
        if (left := due - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def gone(self, patience: float = PATIENCE) -> None:
        """Wait until the server closes the connection."""
        async with asyncio.timeout(patience):
            await asyncio.wait([self._reading])

    @property
    def answers(self) -> list[Received]:
        """All transcripts and errors."""
        return [event for event in self.events if event.kind in ("transcript", "error")]

    @property
    def answered(self) -> bool:
        """Whether the utterance that was begun last has its answer."""
        return len(self.answers) > self._taken

    async def answer(self, patience: float = PATIENCE) -> Received:
        """Wait for the next transcript or error; raises AssertionError where none comes."""
        try:
            async with asyncio.timeout(patience):
                while not self.answered and not self.closed:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no answer within {patience:g} s") from None
        assert self.answered, "closed without an answer"
        self._taken += 1
        return self.answers[self._taken - 1]

    async def next_event(self, kind: str, patience: float = PATIENCE) -> Received:
        """Wait for the first event of a kind; raises TimeoutError where none comes."""
        async with asyncio.timeout(patience):
            while True:
                for event in self.events:
                    if event.kind == kind:
                        return event
                assert not self.closed, f"closed without {kind}"
                self._news.clear()
                await self._news.wait()

    async def describe(self, patience: float = PATIENCE) -> Received:
        """Ask what the server is; return its next ``info``."""
        self.events[:] = [event for event in self.events if event.kind != "info"]
        await self.send("describe")
        return await self.next_event("info", patience)
