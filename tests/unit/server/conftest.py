"""A server on a loopback socket, a transcriber that does what the test says, raw clients."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event, async_read_event

from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Limits, Server
from wyoming_flux.server.events import encode
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings
from wyoming_flux.utterance import Report, Transcript, Trigger

PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""


FORM = {"rate": 16000, "width": 2, "channels": 1}
STOP = AudioStop().event()
START = AudioStart(**FORM).event()
PCM = b"\1\2" * 1600


def chunk(pcm: bytes = PCM, **form: Any) -> Event:
    """Return an audio-chunk."""
    return AudioChunk(**{**FORM, **form}, audio=pcm).event()


class FakeTranscriber:
    """A transcriber without Flux: the test decides what it hears, and when."""

    def __init__(
        self,
        settings: FluxSettings,
        on_partial: Callable[[str], None],
        on_known: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.partial = on_partial
        self._on_known = on_known
        self.report = Report()
        self.limits: list[tuple[float, Trigger]] = []
        self.received = bytearray()
        self.started = False
        self.ended = asyncio.Event()
        self.closed = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self._news = asyncio.Event()
        self._outcome: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        self.started = True
        self.note(attempts=1, connect_ms=5.0)

    async def send(self, pcm: bytes) -> None:
        assert not self.ended.is_set()
        if not self._outcome.done():
            self.received += pcm
            seconds = len(pcm) / 2 / self.settings.sample_rate
            total = self.report.audio_seconds + seconds
            self.note(audio_seconds=total, billed_seconds=total)
            self._news.set()
        await self.room.wait()

    def end(self) -> None:
        self.ended.set()

    def limit(self, seconds: float, trigger: Trigger) -> None:
        self.limits.append((seconds, trigger))

    @property
    def done(self) -> bool:
        return self._outcome.done()

    async def result(self) -> Transcript:
        return await asyncio.shield(self._outcome)

    def outcome(self) -> Transcript:
        return self._outcome.result()

    async def close(self) -> None:
        self._outcome.cancel()
        self.closed.set()

    # What the test does.

    def hear(
        self, text: str, trigger: Trigger = Trigger.END_OF_TURN, *, missing: float = 0.0
    ) -> None:
        """Give the transcript."""
        self.room.set()
        self.note(trigger=trigger, missing=missing, characters=len(text))
        self._outcome.set_result(Transcript(text, trigger, missing))
        self._on_known()

    def note(self, **facts: Any) -> None:
        """Change the report."""
        self.report = dataclasses.replace(self.report, **facts)

    def cancel(self) -> None:
        """Be cancelled behind the server's back."""
        self._outcome.cancel()

    def fail(self, error: BaseException) -> None:
        """Give an error."""
        self.room.set()
        self._outcome.set_exception(error)

    async def heard(self, count: int) -> bytes:
        """Wait until *count* bytes have arrived."""
        async with asyncio.timeout(PATIENCE):
            while len(self.received) < count:
                self._news.clear()
                await self._news.wait()
        return bytes(self.received)


class Client:
    """A client on a socket of its own, which can also say what no library would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *events: Event | bytes) -> None:
        """Send events, or bytes as they are."""
        self.writer.write(b"".join(e if isinstance(e, bytes) else encode(e) for e in events))
        await self.writer.drain()

    async def read(self) -> Event | None:
        """Read the next event; None at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await async_read_event(self.reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                return None

    async def read_type(self, kind: str) -> Event:
        """Read the next event, which must be of this type."""
        event = await self.read()
        assert event is not None
        assert event.type == kind, event
        return event

    async def read_answer(self) -> str:
        """Read a whole streaming answer; return the transcript."""
        event = await self.read_type("transcript-start")
        chunks = ""
        while (event := await self.read_any()).type == "transcript-chunk":
            chunks += event.data["text"]
        assert event.type == "transcript", event
        await self.read_type("transcript-stop")
        text: str = event.data["text"]
        return text

    async def read_any(self) -> Event:
        """Read the next event; there must be one."""
        event = await self.read()
        assert event is not None
        return event

    async def read_error(self) -> tuple[str, str]:
        """Read an error; return its code and text."""
        event = await self.read_type("error")
        return event.data["code"], event.data["text"]

    async def closed(self) -> None:
        """Wait until the server closes, whatever it says before."""
        while await self.read() is not None:
            pass

    async def alive(self) -> None:
        """Show that the server still answers on this connection."""
        await self.send(Event("ping", {"text": "still there?"}))
        assert (await self.read_type("pong")).data == {"text": "still there?"}

    async def stuck(self, other: "Client") -> None:
        """Wait until the server reads no more of what was written, while it answers *other*."""
        rounds, left = 0, 0
        async with asyncio.timeout(PATIENCE):
            while rounds < 20:
                await other.alive()
                now = self.writer.transport.get_write_buffer_size()
                rounds, left = (rounds + 1 if now == left > 0 else 0), now

    def close(self) -> None:
        """Close without waiting."""
        self.writer.close()


def open_files() -> int:
    """Return how many files and sockets this process has open, the clients' and the server's."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def tasks() -> list[asyncio.Task[Any]]:
    """Return the tasks of utterances."""
    return [one for one in asyncio.all_tasks() if one.get_name().startswith("wyoming-flux utt")]


class Running:
    """A server that runs, and what it made."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.utterances: list[FakeTranscriber] = []
        self.reports: list[Report] = []
        self.clients: list[Client] = []
        self._news = asyncio.Event()

    def make(self, *wanted: Any) -> FakeTranscriber:
        """Make a transcriber for the server."""
        self.utterances.append(FakeTranscriber(*wanted))
        self._news.set()
        return self.utterances[-1]

    def note(self, report: Report) -> None:
        """Take a report of the server."""
        self.reports.append(report)
        self._news.set()

    async def utterance(self, number: int = 1) -> FakeTranscriber:
        """Wait for the n-th transcriber."""
        await self._until(lambda: len(self.utterances) >= number)
        return self.utterances[number - 1]

    async def answers(self, client: Client, text: str, number: int = 1) -> FakeTranscriber:
        """Let the n-th utterance end, give its text, and see that the client reads it."""
        utterance = await self.utterance(number)
        await utterance.ended.wait()
        utterance.hear(text)
        assert await client.read_answer() == text
        return utterance

    async def utterance_for(self, keyterm: str) -> FakeTranscriber:
        """Wait for the transcriber of the turn that expects this name."""

        def found() -> list[FakeTranscriber]:
            return [one for one in self.utterances if one.settings.keyterms == (keyterm,)]

        await self._until(lambda: bool(found()))
        return found()[0]

    async def report(self, number: int = 1) -> Report:
        """Wait for the n-th report."""
        await self._until(lambda: len(self.reports) >= number)
        return self.reports[number - 1]

    async def outcome(self, number: int = 1) -> str | None:
        """Wait for the n-th report; return its trigger or the error's code; None: given up."""
        report = await self.report(number)
        return report.error.code if report.error is not None else report.trigger

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def connect(self) -> Client:
        """Connect a client."""
        address = self.server.uri.removeprefix("tcp://").removeprefix("unix://")
        if self.server.uri.startswith("unix:"):
            client = Client(*await asyncio.open_unix_connection(address))
        else:
            host, _, port = address.rpartition(":")
            client = Client(*await asyncio.open_connection(host.strip("[]"), int(port)))
        self.clients.append(client)
        return client

    async def shut(self) -> None:
        """Close all clients, then the server, and see that nothing is left."""
        for client in self.clients:
            client.close()
        async with asyncio.timeout(PATIENCE):
            await self.server.stop(grace=0)
        assert self.server.connections == 0
        assert all(utterance.closed.is_set() for utterance in self.utterances)

    def library_client(self) -> AsyncClient:
        """Make a client of the wyoming library."""
        return AsyncClient.from_uri(self.server.uri)


Serve = Callable[..., Awaitable[Running]]


@pytest.fixture
async def serve(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Serve]:
    """Start servers, which are stopped at the end; nothing may go wrong behind the test's back.

    Keyword arguments: those of ServerSettings, ``flux``, ``turn``, ``limits``, ``minutes``,
    ``keyterms``, ``fallbacks`` and ``endpoint``; ``transcriber=None`` takes the real one.
    """
    caplog.set_level(logging.DEBUG, "wyoming_flux")
    faults: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    running: list[Running] = []

    async def start(
        *,
        flux: FluxSettings | None = None,
        turn: UtteranceSettings | None = None,
        endpoint: str = "ws://127.0.0.1:1",
        route: str = "auto",
        real: bool = False,
        limits: Limits | None = None,
        minutes: Any = None,
        keyterms: Any = None,
        fallbacks: Any = (),
        uri: str = "tcp://127.0.0.1:0",
        **settings: Any,
    ) -> Running:
        one: Running

        def make(*wanted: Any) -> FakeTranscriber:
            return one.make(*wanted)

        def note(report: Report) -> None:
            one.note(report)

        server = Server(
            Connector(Endpoint.from_url(endpoint, route=route)),
            flux or FluxSettings(),
            turn or UtteranceSettings(),
            ServerSettings(uri=uri, **settings),
            # Clients of tests ask as fast as they can.
            limits=dataclasses.replace(
                limits or Limits(tick=0.02, linger=0.3), events_per_second=10**6
            ),
            minutes=minutes,
            keyterms=keyterms,
            fallbacks=fallbacks,
            on_report=note,
            transcriber=None if real else make,
        )
        one = Running(server)
        running.append(one)
        await server.start()
        return one

    yield start
    for one in running:
        await one.shut()
    ours = [task for task in asyncio.all_tasks() if task.get_name().startswith("wyoming-flux")]
    assert not ours
    assert not faults, faults
    assert not [record for record in caplog.records if record.exc_info], "a traceback was logged"


@pytest.fixture
def say() -> Callable[..., list[Event]]:
    """Make the events of an utterance: ``transcribe`` (fields), ``audio-start``, 10 ms chunks."""

    def make(
        pcm: bytes = PCM,
        *,
        rate: int = 16000,
        width: int = 2,
        channels: int = 1,
        stop: bool = False,
        transcribe: bool = True,
        **fields: Any,
    ) -> list[Event]:
        form = {"rate": rate, "width": width, "channels": channels}
        size = rate * width * channels // 100
        events = [Transcribe(**fields).event()] if transcribe else []
        events.append(AudioStart(**form).event())
        events += [chunk(pcm[at : at + size], **form) for at in range(0, len(pcm), size)]
        if stop:
            events.append(STOP)
        return events

    return make


@pytest.fixture
def speaking(serve: Serve, say: Any) -> Callable[..., Awaitable[Any]]:
    """Start a server (keyword arguments: see ``serve``) and a client in the middle of its turn.

    It sends the events, else an utterance without its end. Returns server, client, transcriber.
    """

    async def make(*events: Event, **options: Any) -> tuple[Running, Client, FakeTranscriber]:
        one = await serve(**options)
        client = await one.connect()
        await client.send(*(events or say()))
        return one, client, await one.utterance()

    return make
