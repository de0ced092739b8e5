"""Another Wyoming engine, as a transcriber and as an endpoint; engines are real sockets."""

import asyncio
import importlib.util
import socket
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_read_event, async_write_event

from wyoming_flux.audio import AudioFormat
from wyoming_flux.ear.detector import Loudness, best_detector
from wyoming_flux.ear.turns import CHUNK
from wyoming_flux.errors import ConnectionLost, FluxTimeout, Unreachable
from wyoming_flux.flux.messages import (
    CLOSE_STREAM,
    FORCE_END_TURN,
    Connected,
    TurnEvent,
    TurnInfo,
)
from wyoming_flux.remote import (
    Remote,
    RemoteConnection,
    RemoteTranscriber,
    ServerError,
    Wish,
    endpoint,
    transcriber,
)
from wyoming_flux.settings import FluxSettings
from wyoming_flux.utterance import Trigger

RATE = 16000
LINEAR16 = AudioFormat(RATE, 2, 1)


@dataclass
class Engine:
    """Plays a Wyoming engine: hears until audio-stop, answers with the next of its answers."""

    answers: list[Event | bytes | None]
    """An event, bytes of another protocol, or None to close."""
    early: bool = False
    """Answer the first audio, as engines do that find the end themselves."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers wait for it."""
    heard: list[bytes] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    uri: str = ""
    tasks: list[asyncio.Task[None] | None] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pcm = b""
        while (event := await async_read_event(reader)) is not None:
            if AudioChunk.is_type(event.type):
                pcm += event.payload or b""
            else:
                self.events.append(event)
            if AudioStop.is_type(event.type) or (pcm and self.early):
                self.heard.append(pcm)
                answer = self.answers.pop(0)
                await self.held.wait()
                if answer is None:
                    break
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await async_write_event(answer, writer)
                if self.early:
                    break


@pytest.fixture
async def engine() -> AsyncIterator[Callable[..., "asyncio.Future[Engine]"]]:
    """Start an engine with these answers; a text stands for its transcript."""
    servers = []
    engines = []

    async def start(*answers: str | Event | bytes | None, **options: bool) -> Engine:
        made = Engine(
            [Transcript(one).event() if isinstance(one, str) else one for one in answers], **options
        )
        made.held.set()
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        servers.append(server)
        engines.append(made)
        made.uri = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return made

    yield start  # type: ignore[misc]
    for server in servers:
        server.close()
    tasks = [task for one in engines for task in one.tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what is loud for speech."""
    monkeypatch.setattr(endpoint, "best_detector", Loudness)


def sound(*seconds: float, rate: int = RATE) -> bytes:
    """Silence and a loud tone in turn."""
    return b"".join(
        array("h", [0, 8000 if at % 2 else 0] * round(length * rate / 2)).tobytes()
        for at, length in enumerate(seconds)
    )


async def sent(connection: RemoteConnection, pcm: bytes) -> None:
    """Send audio in frames."""
    for at in range(0, len(pcm), 2560):
        await connection.send_audio(pcm[at : at + 2560])


async def until_lost(connection: RemoteConnection) -> tuple[list[TurnInfo], ConnectionLost]:
    """All that is told of turns, and why there is no more."""
    told = []
    while True:
        try:
            message = await connection.receive()
        except ConnectionLost as end:
            return told, end
        if isinstance(message, TurnInfo):
            told.append(message)


def ends(told: list[TurnInfo]) -> list[tuple[int, str]]:
    """Index and text of the turns that ended."""
    return [(one.turn_index, one.transcript) for one in told if one.event is TurnEvent.END_OF_TURN]


# --- as an endpoint ---------------------------------------------------------------------------


@pytest.mark.usefixtures("loud")
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
async def test_turn(engine, rate: int) -> None:
    """One sentence: the engine hears it from before its onset to its pause, once; true windows."""
    other = await engine("turn on the light")
    settings = FluxSettings(sample_rate=rate, language="en", keyterms=("Nabu",))
    connection = await Remote(other.uri).connect(settings)
    assert await connection.receive() == Connected()
    await sent(connection, sound(1.0, 1.5, 1.0, rate=rate))
    await connection.send_control(CLOSE_STREAM)
    told, end = await until_lost(connection)
    await connection.close()
    assert end.close_code == 1000
    assert ends(told) == [(0, "turn on the light")]
    last = next(one for one in told if one.event is TurnEvent.END_OF_TURN)
    assert last.audio_window_end == pytest.approx(3.0, abs=0.1)
    windows = [one.audio_window_end for one in told if one.event is TurnEvent.UPDATE]
    assert windows == sorted(windows)
    assert windows[-1] == pytest.approx(3.5, abs=1e-3)
    assert len(windows) >= 13
    assert {one.transcript for one in told if one.event is TurnEvent.UPDATE} == {""}
    (heard,) = other.heard
    assert len(heard) / 32000 == pytest.approx(0.3 + 1.5 + 0.5, abs=0.1)
    assert [event.type for event in other.events] == ["transcribe", "audio-start", "audio-stop"]
    asked = other.events[0].data
    assert asked["language"] == "en"
    assert asked["transcript_terms"] == ["Nabu"]


@pytest.mark.usefixtures("loud")
async def test_turns_while_the_first_is_unanswered(engine) -> None:
    """Who goes on while the engine thinks is heard; each turn has its own answer, in order."""
    other = await engine("one", "", "three")
    other.held.clear()
    connection = await Remote(other.uri).connect(FluxSettings())
    await sent(connection, sound(0.5, 1.0, 0.8, 1.0, 0.8, 1.0, 0.8))
    window = 0.0
    while window < 3.0:
        message = await connection.receive()
        window = message.audio_window_end if isinstance(message, TurnInfo) else 0.0
    other.held.set()
    await connection.send_control(CLOSE_STREAM)
    told, _ = await until_lost(connection)
    await connection.close()
    assert ends(told) == [(0, "one"), (1, "three")]
    assert len(other.heard) == 3


@pytest.mark.usefixtures("loud")
async def test_nothing_is_asked_without_speech(engine) -> None:
    """Silence costs the engine nothing, and makes it invent nothing."""
    other = await engine()
    connection = await Remote(other.uri).connect(FluxSettings())
    await sent(connection, sound(2.0))
    await connection.send_control(CLOSE_STREAM)
    told, end = await until_lost(connection)
    await connection.close()
    assert end.close_code == 1000
    assert not ends(told)
    assert not other.events


@pytest.mark.usefixtures("loud")
async def test_client_that_pauses(engine) -> None:
    """The window end of the last samples is told without further audio."""
    connection = await Remote((await engine()).uri).connect(FluxSettings())
    await sent(connection, sound(0.1))
    assert await connection.receive() == Connected()
    assert await connection.receive() == TurnInfo(TurnEvent.UPDATE, 0, 3 * CHUNK, "")
    await connection.close()


@pytest.mark.usefixtures("loud")
async def test_end_of_the_stream_within_speech(engine) -> None:
    """CloseStream brings the text of what was sent, to its last sample."""
    other = await engine("half a sentence")
    connection = await Remote(other.uri).connect(FluxSettings())
    await sent(connection, sound(0.5, 1.01))
    await connection.send_control(CLOSE_STREAM)
    told, _ = await until_lost(connection)
    await connection.close()
    assert ends(told) == [(0, "half a sentence")]
    assert told[-1].audio_window_end == pytest.approx(1.51)


@pytest.mark.usefixtures("loud")
async def test_engine_that_ends_the_turn_itself(engine) -> None:
    """An answer before our own end of speech counts at once."""
    other = await engine("early", early=True)
    connection = await Remote(other.uri).connect(FluxSettings())
    await sent(connection, sound(0.5, 0.4))
    while not isinstance(message := await connection.receive(), TurnInfo) or not message.transcript:
        await connection.send_audio(sound(0.0, 0.08))
    assert message.transcript == "early"
    await connection.close()


@pytest.mark.usefixtures("loud")
@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Error("the model is gone", "internal").event(), "the model is gone"),
        (None, "closed the connection without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n", "without an answer"),
        (b'{"no": "type"}\n', "does not speak Wyoming"),
        (b'{"type": "transcript"}\n', "does not speak Wyoming"),
    ],
)
async def test_engine_that_fails(engine, answer: Event | bytes | None, sentence: str) -> None:
    """Whatever else an engine does than answer is a lost connection, with its reason."""
    other = await engine(answer)
    connection = await Remote(other.uri).connect(FluxSettings())
    await sent(connection, sound(0.2, 1.0, 0.7))
    _, end = await until_lost(connection)
    assert sentence in str(end)
    assert other.uri in str(end)
    with pytest.raises(ConnectionLost):
        await connection.send_audio(b"\0\0")
    await connection.close()


async def test_fault_of_ours(
    engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw ends the stream at once, and is in the log: nobody waits for a text."""

    class Broken(Loudness):
        def process_chunk(self, audio: bytes) -> float:
            raise KeyError("a fault")

    monkeypatch.setattr(endpoint, "best_detector", Broken)
    connection = await Remote((await engine()).uri).connect(FluxSettings())
    await connection.send_audio(bytes(2560))
    _, error = await until_lost(connection)
    await connection.close()
    assert "internal error" in str(error)
    (said,) = [one for one in caplog.records if one.exc_info]
    assert said.levelname == "ERROR"


async def test_no_engine() -> None:
    """A port where nobody listens, by its name."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unreachable, match=uri):
        await Remote(uri).connect(FluxSettings())


@pytest.mark.usefixtures("loud")
async def test_sender_waits(engine) -> None:
    """An engine that takes nothing more holds up the sender, some seconds ahead."""
    other = await engine("one", "two", "three", "four", "five")
    other.held.clear()
    connection = await Remote(other.uri).connect(FluxSettings())
    sender = asyncio.create_task(sent(connection, sound(*([0.6, 0.4] * 16))))
    done, _ = await asyncio.wait({sender}, timeout=0.5)
    assert not done
    await connection.close()
    with pytest.raises(ConnectionLost):
        await sender


async def test_faults_of_the_caller(engine) -> None:
    """Half samples, empty frames and unknown control messages are refused at once."""
    connection = await Remote((await engine()).uri).connect(FluxSettings())
    for frame in (b"", b"\0"):
        with pytest.raises(ValueError, match="whole samples"):
            await connection.send_audio(frame)
    with pytest.raises(ValueError, match="ForceEndTurn"):
        await connection.send_control(FORCE_END_TURN)
    await connection.close()
    await connection.close()


def test_detector_where_there_is_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a pause is found by level: loud is speech, silence is none."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    detector = best_detector()
    assert isinstance(detector, Loudness)
    assert detector.process_chunk(sound(0.0, 0.032)) == 1
    assert detector.process_chunk(sound(0.032)) == 0


# --- as a transcriber -------------------------------------------------------------------------


async def test_transcriber(engine) -> None:
    """Audio of any format goes out as it is, with what the client asks for."""
    other = await engine("hello")
    wish = Wish(language="de", keyterms=("Nabu",), sensitivity="relaxed")
    hearing = RemoteTranscriber(other.uri, AudioFormat(44100, 3, 2), wish)
    hearing.start()
    await hearing.send(bytes(44100 * 6))
    hearing.end()
    transcript = await hearing.result()
    assert (transcript.text, transcript.trigger) == ("hello", Trigger.AUDIO_STOP)
    assert hearing.done
    assert hearing.audio_seconds == 1.0
    await hearing.send(bytes(600))
    await hearing.close()
    await hearing.close()
    assert other.heard == [bytes(44100 * 6)]
    asked, start, _ = other.events
    assert asked.data["vad_sensitivity"] == "relaxed"
    assert (start.data["rate"], start.data["width"], start.data["channels"]) == (44100, 3, 2)


async def test_transcriber_tells_the_engines_error(engine) -> None:
    """An error event is told in the engine's words and with its code."""
    other = await engine(Error("no minutes are left", "quota").event())
    hearing = RemoteTranscriber(other.uri, LINEAR16)
    await hearing.send(bytes(320))
    hearing.end()
    with pytest.raises(ServerError, match="no minutes are left") as said:
        await hearing.result()
    assert said.value.server_code == "quota"
    await hearing.close()


async def test_transcriber_does_not_wait_for_ever(engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not answer in time is a timeout."""
    monkeypatch.setattr(transcriber, "ANSWER_TIMEOUT", 0.1)
    other = await engine("too late")
    other.held.clear()
    hearing = RemoteTranscriber(other.uri, LINEAR16)
    hearing.end()
    with pytest.raises(FluxTimeout, match="no answer"):
        await hearing.result()
    await hearing.close()


async def test_transcriber_of_an_engine_that_takes_no_audio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A long recording for one that hangs does not wait for ever either, nor does leaving it."""
    monkeypatch.setattr(transcriber, "TAKE_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        hearing = RemoteTranscriber(f"tcp://127.0.0.1:{hangs.getsockname()[1]}", LINEAR16)
        async with asyncio.timeout(10):
            while not hearing.done:
                await hearing.send(bytes(1 << 20))
            with pytest.raises(FluxTimeout, match="took no audio"):
                await hearing.result()
            await hearing.close()


async def test_transcriber_that_is_closed_first(engine) -> None:
    """Who waits for the result of one that is closed is told so."""
    other = await engine("never")
    other.held.clear()
    hearing = RemoteTranscriber(other.uri, LINEAR16)
    waiting = asyncio.create_task(hearing.result())
    await hearing.connected()
    await hearing.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
