"""The ear as an endpoint: one process for all utterances, a connection for each.

It has the faces of :class:`~wyoming_flux.flux.Connector` and of
:class:`~wyoming_flux.flux.FluxConnection`, so that an utterance treats it as one more endpoint.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from wyoming_flux.errors import (
    ConnectionLost,
    EndpointBusy,
    EndpointError,
    FluxTimeout,
    InvalidSetting,
    Unreachable,
)
from wyoming_flux.flux.endpoint import Endpoint
from wyoming_flux.flux.learnt import EndpointMemory, Facts
from wyoming_flux.flux.messages import CLOSE_STREAM, Connected, Message, TurnInfo
from wyoming_flux.settings import FluxSettings

from .model import Model
from .pipe import Kind, frame, read_frame, turn_from_bytes

NAME: Final = "local"
CONNECT_TIMEOUT: Final = 2.5
"""Seconds for a stream to open."""
LOAD_TIMEOUT: Final = 30.0
"""Seconds for the model to load: 0.5 s here, a slow card takes longer."""
RESTART_EVERY: Final = 5.0
"""Seconds between two restarts of the process; the first is at once."""
AHEAD: Final = 5.0
"""Seconds that may be sent ahead of what was heard; more waits, like at a full socket."""

_CLOSE_TIMEOUT: Final = 1.0
_SLICE: Final = 0.25
_LAST_WORDS: Final = 400

_LOGGER: Final = logging.getLogger(__name__)


class EarConnection:
    """One stream; made by :meth:`Ear.connect`."""

    host: Final = NAME
    facts: Final = Facts(control=CLOSE_STREAM, prompt=False)
    dropped: Final[tuple[str, ...]] = ()
    attempts: Final = 1

    def __init__(self, process: "_Child", number: int, sample_rate: int) -> None:
        """Take the number of a stream that is to be opened."""
        self.connect_ms = 0.0
        """Milliseconds until the stream was open, loading included."""
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether the ear hears it, once it has said so."""
        self._process = process
        self.number = number
        self._bytes_per_second = sample_rate * 2
        self._sent = 0.0
        self._heard = 0.0
        self._taken = asyncio.Event()
        self._messages: asyncio.Queue[Message | ConnectionLost] = asyncio.Queue()
        self._lost: ConnectionLost | None = None
        self._messages.put_nowait(Connected())

    async def send_audio(self, pcm: bytes) -> None:
        """Send linear16 audio, at least one sample; waits while much is unheard.

        Raises :class:`ConnectionLost`.
        """
        if not pcm or len(pcm) % 2:
            raise ValueError("a frame must hold whole samples, and at least one")
        while self._lost is None and self._sent - self._heard > AHEAD:
            self._taken.clear()
            await self._taken.wait()
        self._sent += len(pcm) / self._bytes_per_second
        await self._send(Kind.AUDIO, pcm)

    async def send_control(self, message: str) -> None:
        """Send :data:`CLOSE_STREAM`, the one that it knows. Raises :class:`ConnectionLost`."""
        if message != CLOSE_STREAM:
            raise ValueError(f"the ear does not know {message}")
        await self._send(Kind.FINISH)

    async def receive(self) -> Message:
        """Wait for the next message. Raises :class:`ConnectionLost` when there will be none."""
        if self._lost is not None and self._messages.empty():
            raise self._lost.with_traceback(None)
        message = await self._messages.get()
        if isinstance(message, ConnectionLost):
            raise message
        if isinstance(message, TurnInfo):
            self._heard = message.audio_window_end or self._heard
            self._taken.set()
        return message

    async def close(self) -> None:
        """Give up the stream; never raises, idempotent."""
        self._process.forget(self.number)
        self.end(ConnectionLost(f"the stream to {NAME} is closed"))

    def told(self, message: Message) -> None:
        """Take a message of the ear."""
        self._messages.put_nowait(message)

    def end(self, error: ConnectionLost) -> None:
        """Take note that there will be no more messages."""
        if self._lost is None:
            self._lost = error
            self._messages.put_nowait(error)
            self._taken.set()
        if not self.opened.done():
            self.opened.cancel()

    async def _send(self, kind: Kind, data: bytes = b"") -> None:
        if self._lost is not None:
            raise self._lost.with_traceback(None)
        await self._process.send(kind, self.number, data)


class Ear:
    """The recogniser on this machine, shared by all utterances of a process.

    It starts with :meth:`start`, or the first :meth:`connect`; :meth:`close` ends it. A process
    that ends by itself is started again by the next connection, at once, then at most every 5 s.
    """

    name: Final = NAME
    billed: Final = False
    """Whether what it hears counts as minutes of Flux."""

    def __init__(self, model: Model, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a model of :func:`.usable_model`; nothing is loaded yet."""
        self._model = model
        self._clock = clock
        self.learnt: Final = EndpointMemory(())
        """Whether it is down; its control message needs no proof."""
        self._process: _Child | None = None
        self._restarted_at = float("-inf")

    @staticmethod
    def languages(_model: str) -> tuple[str, ...]:
        """Return the language tags that it understands, whatever Flux's model is."""
        return Endpoint.languages("flux-general-en")

    def check(self, settings: FluxSettings) -> None:
        """Raise :class:`InvalidSetting` for a language that it does not know."""
        if settings.language is not None and settings.language not in self.languages(""):
            raise InvalidSetting(
                "language", f"the ear on this machine knows English alone, not {settings.language}"
            )

    async def start(self) -> float:
        """Load the model; return the seconds that it took.

        Raises :class:`EndpointError` with the reason where that fails.
        """
        process = self._running()
        await _within(LOAD_TIMEOUT, process.ready)
        return process.loaded()

    async def connect(
        self, settings: FluxSettings, *, timeout: float = CONNECT_TIMEOUT
    ) -> EarConnection:
        """Open a stream of linear16 at the settings' sample rate; key terms have no effect.

        Raises :class:`EndpointBusy` where so many are heard that another would be late, and other
        subclasses of :class:`EndpointError`.
        """
        began = time.perf_counter()
        process = self._running()
        await _within(timeout, process.ready)
        process.loaded()
        connection = process.open(settings.sample_rate)
        try:
            process.tell(Kind.OPEN, connection.number, str(settings.sample_rate).encode())
            if not await _within(timeout, connection.opened):
                # One that does not even say no is stuck in native code.
                process.kill("it did not answer")
                raise FluxTimeout("the ear on this machine did not answer in time")
            if connection.opened.cancelled():
                raise process.error()
            if not connection.opened.result():
                raise EndpointBusy("the ear on this machine hears as many at once as it can")
        except BaseException:
            await connection.close()
            raise
        connection.connect_ms = (time.perf_counter() - began) * 1000
        return connection

    @property
    def memory(self) -> int | None:
        """Resident memory of the process in MB; None where that is not known."""
        process = self._process
        try:
            statm = Path(f"/proc/{process.pid if process else None}/statm").read_text("ascii")
        except OSError:
            return None
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000

    async def close(self) -> None:
        """End the process, within a second; idempotent."""
        if self._process is not None:
            await self._process.close()
            self._process = None

    def _running(self) -> "_Child":
        process = self._process
        if process is not None and not process.over:
            return process
        if process is not None:
            now = self._clock()
            if now - self._restarted_at < RESTART_EVERY:
                raise process.error()
            self._restarted_at = now
        self._process = _Child(
            (sys.executable, "-m", "wyoming_flux.ear.process", str(self._model.path))
        )
        return self._process


class _Child:
    """One run of the ear's process, from its start to its end."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it, in a running loop."""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the model is loaded, or never will be."""
        self.over = False
        self._command = command
        self._connections: dict[int, EarConnection] = {}
        self._numbers = 0
        self._load_seconds = 0.0
        self._reason = ""
        self._last_words = ""
        self._process: asyncio.subprocess.Process | None = None
        self._task = asyncio.create_task(self._run(), name="ear")

    def loaded(self) -> float:
        """Return how long loading took. Raises :class:`EndpointError` while it is not loaded."""
        if self.over:
            raise self.error()
        if not self.ready.done():
            raise FluxTimeout("the ear on this machine is still loading its model")
        return self._load_seconds

    def error(self) -> EndpointError:
        """Return why there is no ear."""
        return Unreachable(f"the ear on this machine does not run: {self._reason}")

    def open(self, sample_rate: int) -> EarConnection:
        """Return a connection with a new number; the ear does not know of it yet."""
        self._numbers += 1
        connection = EarConnection(self, self._numbers, sample_rate)
        self._connections[self._numbers] = connection
        return connection

    def tell(self, kind: Kind, number: int, data: bytes = b"") -> None:
        """Send a short frame at once."""
        if self._stdin is not None:
            self._stdin.write(frame(kind, number, data))

    async def send(self, kind: Kind, number: int, data: bytes = b"") -> None:
        """Send a frame; waits while the pipe is full."""
        self.tell(kind, number, data)
        if self._stdin is not None:
            # A pipe that broke is told by the end of the other one.
            with contextlib.suppress(OSError):
                await self._stdin.drain()

    def forget(self, number: int) -> None:
        """Tell nothing more to a connection, and let the ear know."""
        if self._connections.pop(number, None) is not None:
            self.tell(Kind.CLOSE, number)

    def kill(self, reason: str) -> None:
        """End the process at once."""
        self._reason = self._reason or reason
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        """Let the process end, and end it after a second."""
        self._reason = "it was closed"
        if self._stdin is not None:
            self._stdin.close()
        done, _ = await asyncio.wait({self._task}, timeout=_CLOSE_TIMEOUT)
        if not done:
            self.kill("")
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self._process.pid if self._process is not None else None

    @property
    def _stdin(self) -> asyncio.StreamWriter | None:
        return self._process.stdin if self._process is not None and not self.over else None

    async def _run(self) -> None:
        # Without the server's tokens; and with this package, wherever it was found.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("WYOMING_FLUX_")
        }
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
            )
        except OSError as error:
            self._end(str(error))
            return
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("a pipe was asked for")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(process.stderr))
                await self._receive(process.stdout)
        finally:
            self.kill("")
            self._end(_why(await process.wait(), self._last_words))

    async def _receive(self, stdout: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                kind, number, data = await read_frame(stdout)
                if kind is Kind.READY:
                    self._load_seconds = float(data)
                    self.ready.set_result(None)
                elif (connection := self._connections.get(number)) is not None:
                    self._told(connection, kind, data)

    def _told(self, connection: EarConnection, kind: Kind, data: bytes) -> None:
        match kind:
            case Kind.OPENED | Kind.BUSY if not connection.opened.done():
                connection.opened.set_result(kind is Kind.OPENED)
            case Kind.TURN:
                connection.told(turn_from_bytes(data))
            case Kind.FINISHED:
                # As Flux does after CloseStream.
                connection.end(ConnectionLost(f"{NAME} has told all", close_code=1000))
            case _:
                pass

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        while said := await stderr.read(_LAST_WORDS):
            self._last_words = (self._last_words + said.decode("utf-8", "replace"))[-_LAST_WORDS:]

    def _end(self, reason: str) -> None:
        self._reason = self._reason or reason
        self.over = True
        if not self.ready.done():
            self.ready.set_result(None)
        if self._reason != "it was closed":
            _LOGGER.warning("the ear on this machine has ended: %s", self._reason)
        for connection in self._connections.values():
            connection.end(
                ConnectionLost(
                    f"the ear on this machine ended in the middle of a turn: {self._reason}"
                )
            )
        self._connections.clear()


def _why(status: int, last_words: str) -> str:
    said = last_words.strip().rpartition("\n")[2]
    if status < 0:
        return f"{signal.Signals(-status).name} in native code"
    return said or f"exit code {status}"


async def _within(seconds: float, future: "asyncio.Future[Any]") -> bool:
    """Wait for *future*, and tell whether it is done.

    In slices: of the time in which this process was stopped only one counts.
    """
    for _ in range(max(1, round(seconds / _SLICE))):
        if future.done():
            break
        await asyncio.wait({future}, timeout=_SLICE)
    return future.done()
