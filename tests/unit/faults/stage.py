"""One client, one server session, one Flux: the real ones, in memory and virtual time."""

import asyncio
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event

from tests.support.coded import speak
from wyoming_flux.minutes import DailyMinutes
from wyoming_flux.server import Limits
from wyoming_flux.server.client import Client as ServerClient
from wyoming_flux.server.events import EventParser, encode
from wyoming_flux.server.shared import Shared
from wyoming_flux.server.standing import Standing
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator import LocalFlux
from wyoming_flux.utterance import Transcriber

from .matrix import (
    AFTER,
    BEFORE,
    COMMAND,
    FIRST_OF_FILE,
    LEAD,
    PAUSE,
    Cell,
    Client,
    Kind,
    Moment,
    expected,
)

RATE = 16000
CHUNK = RATE // 50 * 2
"""Bytes of 20 ms."""
FORMAT = {"rate": RATE, "width": 2, "channels": 1}
FLUX_SETTINGS = FluxSettings(keyterms=("kitchen",))
LONGEST_WAIT = 60.0
"""An answer that has not come by then hangs."""


def silence(seconds: float) -> bytes:
    """Return silence."""
    return bytes(round(RATE * seconds) * 2)


def noise(seconds: float) -> bytes:
    """Return something loud that is no word."""
    return struct.pack("<2h", 3000, -3000) * round(RATE * seconds / 2)


def utterance(cell: Cell) -> bytes:
    """Return what the client of a cell says."""
    audio = silence(LEAD)
    if cell.is_file:
        audio += speak(FIRST_OF_FILE) + silence(PAUSE)
    return audio + speak(COMMAND) + (noise if cell.is_endless else silence)(cell.tail)


class Wire(asyncio.Transport):
    """The server's end of a connection in memory: keeps what is written, as events."""

    def __init__(self, heard: Callable[[Event], None]) -> None:
        super().__init__()
        self._heard = heard
        self._parser = EventParser()
        self._open = asyncio.Event()
        self._open.set()
        self.closed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        for event in self._parser.feed(bytes(data)):
            self._heard(event)
        assert self._parser.error is None

    def pause_reading(self) -> None:
        self._open.clear()

    def resume_reading(self) -> None:
        self._open.set()

    @property
    def is_read(self) -> bool:
        """Whether the server reads now."""
        return self._open.is_set()

    async def readable(self) -> None:
        """Wait until the server reads."""
        await self._open.wait()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.closed.set()

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False


class MemoryClient:
    """A Wyoming client whose server connection is in the same process."""

    def __init__(self, shared: Shared) -> None:
        self.answers: asyncio.Queue[tuple[float, Event]] = asyncio.Queue()
        self._wire = Wire(self._heard)
        self._connection = ServerClient(shared, b"", self)
        self._connection.connection_made(self._wire)

    # What the connection tells the server.

    def opened(self, client: ServerClient) -> None: ...

    def closed(self, client: ServerClient) -> None: ...

    def _heard(self, event: Event) -> None:
        if event.type in ("transcript", "error"):
            self.answers.put_nowait((asyncio.get_running_loop().time(), event))

    async def say(self, *events: Event) -> None:
        """Send events, as fast as the server reads."""
        for event in events:
            await self._wire.readable()
            self.feed(encode(event))

    def feed(self, data: bytes) -> None:
        """Send bytes, whether the server wants to read or not."""
        while data and not self._wire.closed.is_set():
            buffer = self._connection.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            data = data[size:]
            self._connection.buffer_updated(size)

    async def hang_up(self) -> None:
        """Leave."""
        self._wire.close()
        self._connection.connection_lost(None)


class PlayingClient(Protocol):
    """What a play needs of a client."""

    answers: asyncio.Queue[tuple[float, Event]]
    """``transcript`` and ``error`` events, and when they came."""

    async def say(self, *events: Event) -> None:
        """Send events."""

    async def hang_up(self) -> None:
        """Leave."""


class Stage(Protocol):
    """Where a cell is played: in memory, or over sockets."""

    flux: LocalFlux
    """The simulator."""

    async def connect(self) -> PlayingClient:
        """Connect a client to the server."""

    async def quiet(self) -> None:
        """Wait until the server has nothing more to do, and all connections to Flux are closed."""


class MemoryStage:
    """A server and a Flux in memory."""

    def __init__(self, connector: Any, turn: UtteranceSettings, *fallbacks: Any) -> None:
        self.flux: LocalFlux = connector.service
        self._connectors = (connector, *fallbacks)
        self._shared = Shared(
            flux=FLUX_SETTINGS,
            utterance=turn,
            languages=("en",),
            host=connector.endpoint.host,
            standing=Standing(connector.name, connector.endpoint),
            transcriber=lambda settings, partial, known: Transcriber(
                self._connectors, settings, turn, on_partial=partial, on_known=known
            ),
            minutes=DailyMinutes(None),
            limits=Limits(),
        )

    async def connect(self) -> MemoryClient:
        return MemoryClient(self._shared)

    async def quiet(self) -> None:
        if self._shared.tasks:
            await asyncio.wait(set(self._shared.tasks))
        assert all(one.closed for connector in self._connectors for one in connector.opened)


def chunks(audio: bytes) -> Iterator[Event]:
    """Cut audio as a satellite does."""
    for start in range(0, len(audio), CHUNK):
        yield AudioChunk(**FORMAT, audio=audio[start : start + CHUNK]).event()


async def stream(client: PlayingClient, audio: bytes, *, pace: bool, stop: bool) -> None:
    """Send audio, in real time or at once, and say that it is over, or not."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, chunk in enumerate(chunks(audio)):
        if pace:
            await asyncio.sleep(max(0.0, began + number * CHUNK / 2 / RATE - loop.time()))
        await client.say(chunk)
    if stop:
        if pace:
            await asyncio.sleep(max(0.0, began + len(audio) / 2 / RATE - loop.time()))
        await client.say(AudioStop().event())


@dataclass
class Result:
    """What came of a cell."""

    text: str | None = None
    code: str | None = None
    seconds: float = 0.0
    """From the beginning of the turn to the answer, or from the client's leaving to the close."""
    before: str | None = None
    """What the turn before gave."""
    after: str | None = None
    """What the turn after gave."""
    extra: list[str] = field(default_factory=list)
    """Answers that nobody asked for."""


async def _answer(client: PlayingClient) -> tuple[float, Event]:
    async with asyncio.timeout(LONGEST_WAIT):
        return await client.answers.get()


async def _quick(client: PlayingClient, text: str) -> str | None:
    """Take a turn that nothing disturbs."""
    await client.say(Transcribe().event(), AudioStart(**FORMAT).event())
    await stream(client, silence(0.1) + speak(text) + silence(0.1), pace=False, stop=True)
    _, event = await _answer(client)
    found: str | None = event.data.get("text") if event.type == "transcript" else None
    return found


def stand_still(at: float, seconds: float) -> None:
    """Let the virtual clock run on without us: timers that are due run before what has come."""
    loop = asyncio.get_running_loop()
    loop.jumping.jump = (at, seconds)  # type: ignore[attr-defined]  # of the tests' own loop


async def play(cell: Cell, stage: Stage, *, wait: float = 5.0) -> Result:
    """Play a cell: a turn before, the disturbed one, and a turn after, on one connection.

    An answer too many has ``wait`` seconds to come.
    """
    loop = asyncio.get_running_loop()
    client = await stage.connect()
    result = Result(before=await _quick(client, BEFORE))

    stage.flux.faults[:] = cell.faults(first=len(stage.flux.connections) + 1)
    leaves = cell.client is Client.DISCONNECTS
    late = cell.moment in (Moment.FINALISING, Moment.AFTER_ANSWER)
    began = loop.time()
    if cell.stands_still is not None:
        stand_still(began + cell.stands_still[0], cell.stands_still[1])
    await client.say(Transcribe().event(), AudioStart(**FORMAT).event())
    streaming = asyncio.create_task(
        stream(
            client,
            utterance(cell),
            pace=not cell.is_file,
            stop=late if leaves else not cell.streams_on,
        )
    )
    if leaves and cell.moment is not Moment.AFTER_ANSWER:
        # Just after the fault; while finalising, just after audio-stop.
        at = cell.speech_end if cell.moment is Moment.FINALISING else cell.strikes_after
        await asyncio.sleep(at + 0.05)
        # What came before is none of ours: nobody had left yet.
        while not client.answers.empty():
            client.answers.get_nowait()
    else:
        at, event = await _answer(client)
        result.seconds = at - began
        result.text = event.data["text"] if event.type == "transcript" else None
        result.code = event.data.get("code")
    if leaves:
        streaming.cancel()
        began = loop.time()
        await client.hang_up()
        await stage.quiet()
        if result.text is None:
            result.seconds = loop.time() - began
    elif cell.streams_on:
        # Assistants stop after the answer.
        streaming.cancel()
        await client.say(AudioStop().event())
    await asyncio.wait([streaming])
    stage.flux.faults.clear()
    if not leaves:
        await asyncio.sleep(wait)
    result.extra = [client.answers.get_nowait()[1].type for _ in range(client.answers.qsize())]

    if leaves:
        client = await stage.connect()
    result.after = await _quick(client, AFTER)
    await client.hang_up()
    await stage.quiet()
    return result


def judge(cell: Cell, result: Result, *, slack: float = 0.0) -> None:
    """Hold a result against the table; ``slack`` is in seconds."""
    wanted = expected(cell)
    assert result.before == BEFORE
    assert result.after == AFTER
    assert result.extra == []
    match wanted.kind:
        case Kind.TEXT:
            assert (result.text, result.code) == (cell.text, None)
        case Kind.ERROR:
            assert (result.text, result.code) == (None, wanted.code)
        case Kind.NOTHING:
            assert (result.text, result.code) == (None, None)
    assert result.seconds <= wanted.within + slack
