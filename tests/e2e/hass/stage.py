"""What stands around a real Home Assistant: a Worker, a voice, other engines, a satellite."""

import array
import asyncio
import contextlib
import sys
import time
import wave
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStop
from wyoming.event import Event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info, WakeModel, WakeProgram
from wyoming.server import AsyncEventHandler, AsyncTcpServer
from wyoming.wake import Detect, Detection

from tests.e2e.hass.instance import ROOT, free_port, until
from tests.e2e.hass.websocket_api import Socket
from wyoming_flux import __version__
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.recognizer import VOICED_PEAK

RATE: Final = 16000
CHUNK_MS: Final = 10
SAMPLES: Final = ROOT / "samples"
SENTENCE: Final = "turn on the living room light"
TOKEN: Final = "simulated"
OPTIONS: Final[Mapping[str, Any]] = {
    "sample_rate": "16000",
    "home_names": True,
    "sensitivity": "default",
    "no_speech_timeout": 8,
    "max_turn": 20,
    "mip_opt_out": False,
    "enhanced_audio": False,
    "external_vad": False,
    "keep_turns": 0,
    "fallback": {},
    "network": {"serve": False, "serve_port": 10300},
    "expert": {},
}
"""What a browser sends when nothing was changed in the options."""
BY: Final = Attribution(name="wyoming-flux", url="https://github.com/wyoming-flux/wyoming-flux")


class Worker(Simulator):
    """The simulator with the header by which our Worker says who it is."""

    def extra_headers(self) -> Mapping[str, str]:
        """Return what tells our Worker."""
        return {"x-wyoming-flux-worker": __version__}


def sample(name: str = SENTENCE.replace(" ", "_")) -> bytes:
    """Return the samples of a recording: 16 kHz, 16 bit, mono."""
    with wave.open(str(SAMPLES / f"{name}.wav"), "rb") as recording:
        assert recording.getparams()[:3] == (1, 2, RATE)
        return recording.readframes(recording.getnframes())


def speech_end(pcm: bytes) -> float:
    """Return where the last voiced frame ends, in seconds, as the simulator counts it."""
    samples = array.array("h", pcm)
    frame = RATE // 100
    for start in range(len(samples) - len(samples) % frame - frame, -1, -frame):
        if max(abs(one) for one in samples[start : start + frame]) >= VOICED_PEAK:
            return (start + frame) / RATE
    raise ValueError("nobody speaks in this recording")


# --- a pipeline ----------------------------------------------------------------------------


@dataclass
class Run:
    """What one pipeline run gave; times in seconds of the monotonic clock."""

    text: str | None = None
    speech: str | None = None
    error: dict[str, Any] | None = None
    times: dict[str, float] = field(default_factory=dict)

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the end of speech to the text."""
        return (self.times["stt-end"] - self.times["speech-end"]) * 1000


async def make_pipeline(socket: Socket, engine: str, *, preferred: bool = False) -> str:
    """Make a voice assistant with a speech-to-text engine; returns its id."""
    made = await socket.command(
        "assist_pipeline/pipeline/create",
        name=f"Assistant {time.monotonic_ns()}",
        language="en",
        conversation_engine="conversation.home_assistant",
        conversation_language="en",
        stt_engine=engine,
        stt_language="en",
        tts_engine=None,
        tts_language=None,
        tts_voice=None,
        wake_word_entity=None,
        wake_word_id=None,
    )
    if preferred:
        await socket.command("assist_pipeline/pipeline/set_preferred", pipeline_id=made["id"])
    return str(made["id"])


async def run_pipeline(
    socket: Socket,
    pipeline: str,
    pcm: bytes,
    *,
    meanwhile: Callable[[], object] | None = None,
    at: float = 0.0,
) -> Run:
    """Speak into a microphone that stays open, in real time, until the pipeline ends.

    ``meanwhile`` is called once so many seconds have been spoken.
    """
    run = Run()
    events = await socket.subscribe(
        "assist_pipeline/run",
        pipeline=pipeline,
        start_stage="stt",
        end_stage="intent",
        input={"sample_rate": RATE},
        timeout=60,
    )
    heard = asyncio.Event()

    async def speak(handler: int) -> None:
        size = 2 * RATE * CHUNK_MS // 1000
        started = time.monotonic()
        run.times["speech-end"] = started + speech_end(pcm)
        number = 0
        while not heard.is_set():
            chunk = pcm[number * size : (number + 1) * size]
            # A microphone has a chunk when its last sample has been recorded.
            number += 1
            await asyncio.sleep(max(0.0, started + number * CHUNK_MS / 1000 - time.monotonic()))
            await socket.send_bytes(bytes([handler]) + chunk.ljust(size, b"\0"))
            if meanwhile is not None and number == round(at * 1000 / CHUNK_MS):
                meanwhile()

    speaking: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(60):
            while "run-end" not in run.times:
                came, event = await events.get()
                kind, data = event["type"], event["data"] or {}
                run.times.setdefault(kind, came)
                if kind == "run-start":
                    handler = data["runner_data"]["stt_binary_handler_id"]
                    speaking = asyncio.create_task(speak(handler))
                elif kind == "stt-end":
                    run.text = data["stt_output"]["text"]
                    heard.set()
                elif kind == "intent-end":
                    said = data["intent_output"]["response"].get("speech") or {}
                    run.speech = (said.get("plain") or {}).get("speech")
                elif kind == "error":
                    run.error = data
                    heard.set()
    finally:
        heard.set()
        if speaking is not None:
            await speaking
    return run


async def engine_of(socket: Socket, entry_id: str) -> str:
    """Return the speech-to-text entity that an entry has made."""
    async with asyncio.timeout(10):
        while True:
            for entity in await socket.command("config/entity_registry/list"):
                if entity["config_entry_id"] == entry_id and entity["entity_id"].startswith("stt."):
                    return str(entity["entity_id"])
            await asyncio.sleep(0.1)


# --- engines to compare with ---------------------------------------------------------------


@contextlib.asynccontextmanager
async def instant_engine(*, after: float | None) -> AsyncGenerator[int]:
    """Serve a Wyoming engine that needs no time at all; gives its port.

    ``after``: it answers by itself with the chunk in which that second of audio ends; None: it
    leaves the end of speech to Home Assistant, and answers when the audio ends.
    """
    model = AsrModel(
        name="instant",
        attribution=BY,
        installed=True,
        description="",
        version="1",
        languages=["en"],
    )
    program = AsrProgram(
        name="Answers at once" if after else "Engine of the home",
        attribution=BY,
        installed=True,
        description="",
        version="1",
        models=[model],
        requires_external_vad=after is None,
    )
    info = Info(asr=[program]).event()

    class Handler(AsyncEventHandler):
        heard = 0
        answered = False

        async def handle_event(self, event: Event) -> bool:
            if Describe.is_type(event.type):
                await self.write_event(info)
            elif Transcribe.is_type(event.type):
                self.heard, self.answered = 0, False
            elif AudioChunk.is_type(event.type):
                self.heard += len(AudioChunk.from_event(event).audio) // 2
                if after is not None and self.heard >= round(after * RATE):
                    await self._answer()
            elif AudioStop.is_type(event.type):
                await self._answer()
            return True

        async def _answer(self) -> None:
            if not self.answered:
                self.answered = True
                await self.write_event(Transcript(text=SENTENCE).event())

    async with _served(Handler) as port:
        yield port


@contextlib.asynccontextmanager
async def _served(handler: type[AsyncEventHandler]) -> AsyncGenerator[int]:
    port = free_port()
    server = AsyncTcpServer("127.0.0.1", port)
    await server.start(handler)
    try:
        yield port
    finally:
        await server.stop()


# --- a satellite ---------------------------------------------------------------------------

# Silence until the file is there, then the recording, then silence: an open microphone.
MICROPHONE: Final = """\
import pathlib, sys, time
trigger, recording = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_bytes()
started, number, spoken = time.monotonic(), 0, None
while True:
    if spoken is None and trigger.exists():
        spoken = 0
    piece = recording[spoken : spoken + 2048] if spoken is not None else b""
    spoken = None if spoken is None else spoken + 2048
    number += 1
    time.sleep(max(0, started + number * 0.064 - time.monotonic()))
    sys.stdout.buffer.write(piece.ljust(2048, b"\\0"))
    sys.stdout.buffer.flush()
"""


@dataclass
class Satellite:
    """A running ``wyoming-satellite``."""

    port: int
    woken: asyncio.Event
    """Set it, and the satellite hears its wake word, and then the recording."""
    output: Path

    async def said(self, words: str, times: int = 1) -> None:
        """Wait until the satellite has said something so many times."""

        async def there() -> bool:
            return self.output.read_text(errors="replace").count(words) >= times

        await until(there)


@contextlib.asynccontextmanager
async def satellite(python: Path, folder: Path, pcm: bytes) -> AsyncGenerator[Satellite]:
    """Start a real ``wyoming-satellite`` whose microphone is a recording."""
    trigger, recording, microphone = folder / "speak", folder / "speech.raw", folder / "mic.py"
    recording.write_bytes(pcm)
    microphone.write_text(MICROPHONE)
    woken = asyncio.Event()
    async with _wake_word(woken, trigger) as wake_port:
        port = free_port()
        output = folder / "satellite.log"
        with output.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(str(python), "-m", "wyoming_satellite", "--debug"),
                *("--name", "Kitchen satellite", "--uri", f"tcp://127.0.0.1:{port}"),
                *("--mic-command", f"{sys.executable} {microphone} {trigger} {recording}"),
                *("--wake-uri", f"tcp://127.0.0.1:{wake_port}", "--wake-word-name", "nabu"),
                "--no-zeroconf",
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )
        try:
            yield Satellite(port, woken, output)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            async with asyncio.timeout(10):
                await process.wait()


@contextlib.asynccontextmanager
async def _wake_word(woken: asyncio.Event, trigger: Path) -> AsyncGenerator[int]:
    model = WakeModel(
        name="nabu",
        attribution=BY,
        installed=True,
        description="",
        version="1",
        languages=["en"],
        phrase="okay nabu",
    )
    program = WakeProgram(
        name="wake", attribution=BY, installed=True, description="", version="1", models=[model]
    )
    info = Info(wake=[program]).event()

    class Handler(AsyncEventHandler):
        listening = False

        async def handle_event(self, event: Event) -> bool:
            if Describe.is_type(event.type):
                await self.write_event(info)
            elif Detect.is_type(event.type):
                self.listening = True
            elif AudioChunk.is_type(event.type) and self.listening and woken.is_set():
                self.listening = False
                woken.clear()
                await self.write_event(Detection(name="nabu").event())
                trigger.touch()
            return True

    async with _served(Handler) as port:
        yield port
