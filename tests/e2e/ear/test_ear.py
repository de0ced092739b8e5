"""The ear as an endpoint, with its real process and models."""

import asyncio
import importlib.util
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import wave
from array import array
from collections.abc import AsyncIterator
from difflib import SequenceMatcher
from itertools import accumulate
from math import pi, sin
from pathlib import Path

import pytest

from wyoming_flux.ear import Ear, EarConnection, Model, model_at, usable_model
from wyoming_flux.ear.detector import best_detector
from wyoming_flux.ear.process import MAX_STREAMS
from wyoming_flux.ear.turns import CHUNK, CHUNK_BYTES, Voice
from wyoming_flux.errors import ConnectionLost, EndpointBusy, FluxTimeout, Unreachable
from wyoming_flux.flux.messages import (
    CLOSE_STREAM,
    FORCE_END_TURN,
    Connected,
    Message,
    TurnEvent,
    TurnInfo,
)  # fmt: skip
from wyoming_flux.settings import FluxSettings

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("moonshine_voice") is None, reason="needs the extra local"
)

SAMPLES = Path(__file__).parents[3] / "samples"
LIGHT = "turn_on_the_living_room_light"
SPOKEN = (LIGHT, "close_the_garage_door", "set_the_bedroom_temperature_to_twenty_degrees")
RATE = 16000


def audio(name: str) -> bytes:
    """The samples of a recording."""
    with wave.open(str(SAMPLES / f"{name}.wav")) as file:
        return file.readframes(file.getnframes())


def plain(text: str) -> str:
    """Words without case and full stops."""
    return text.lower().rstrip(".")


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    """An ear that is ready, and closed in the end."""
    made = Ear(usable_model())
    await made.start()
    yield made
    await made.close()


async def until_lost(connection: EarConnection) -> tuple[list[Message], ConnectionLost]:
    """All messages, and why there are no more."""
    messages = []
    while True:
        try:
            messages.append(await connection.receive())
        except ConnectionLost as end:
            return messages, end


async def told(connection: EarConnection, pcm: bytes) -> list[TurnInfo]:
    """Send all of it, end the stream, and return what was told."""

    async def send() -> None:
        for at in range(0, len(pcm), 2560):
            await connection.send_audio(pcm[at : at + 2560])
        await connection.send_control(CLOSE_STREAM)

    sender = asyncio.create_task(send())
    try:
        messages, end = await until_lost(connection)
    finally:
        await sender
        await connection.close()
    assert end.close_code == 1000
    return [message for message in messages if isinstance(message, TurnInfo)]


async def texts(ear: Ear, pcm: bytes, rate: int = RATE) -> list[str]:
    """The texts of the turns that ended."""
    turns = await told(await ear.connect(FluxSettings(sample_rate=rate)), pcm)
    return [plain(turn.transcript) for turn in turns if turn.event is TurnEvent.END_OF_TURN]


def process_of(ear: Ear) -> int:
    """The number of the ear's process, the only child of this one."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


@pytest.mark.parametrize("name", SPOKEN)
async def test_hears_the_samples(ear: Ear, name: str) -> None:
    """The recordings of this project are heard to the letter, each as one turn."""
    assert await texts(ear, audio(name)) == [name.replace("_", " ")]


async def test_hears_other_rates(ear: Ear) -> None:
    """A stream at 8 kHz is heard, and its window ends are of its own audio."""
    pcm = audio(f"{LIGHT}_8k")
    turns = await told(await ear.connect(FluxSettings(sample_rate=8000)), pcm)
    assert turns[-1].audio_window_end == pytest.approx(len(pcm) / 16000, abs=1e-3)
    ends = [turn.transcript for turn in turns if turn.event is TurnEvent.END_OF_TURN]
    assert "living room" in ends[0]


READ = """
It was the best of times it was the worst of times it was the age of wisdom it was the age of
foolishness it was the epoch of belief it was the epoch of incredulity it was the season of light
it was the season of darkness it was the spring of hope it was the winter of despair we had
everything before us we had nothing before us we were all going direct to heaven we were all going
direct the other way in short the period was so far like the present period that some of its
noisiest authorities insisted on its being received for good or for evil in the superlative degree
of comparison only
"""


async def test_hears_a_person_read(ear: Ear) -> None:
    """44 s of a human voice, one sentence of 13 s among them: nine words of ten, in order."""
    with wave.open(str(usable_model().path.parent / "two_cities.wav")) as file:
        rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    heard = re.findall(r"[a-z']+", " ".join(await texts(ear, pcm, rate)).lower())
    assert SequenceMatcher(None, READ.lower().split(), heard).ratio() > 0.9


async def test_behaves_as_a_stream(ear: Ear) -> None:
    """Connected first; then true, growing window ends, whole text; CloseStream ends no turn."""
    connection = await ear.connect(FluxSettings())
    assert await connection.receive() == Connected()
    pcm = audio(LIGHT)[: 2 * 2 * RATE]
    turns = await told(connection, pcm)
    assert {turn.event for turn in turns} == {TurnEvent.UPDATE, TurnEvent.START_OF_TURN}
    windows = [turn.audio_window_end for turn in turns]
    assert windows == sorted(windows)
    assert windows[-1] == 2.0
    assert plain(turns[-1].transcript).startswith("turn on the living")


async def test_sentences_at_once(ear: Ear) -> None:
    """As many as it hears at once are each heard right; one more is told so, and not queued."""
    names = [SPOKEN[at % len(SPOKEN)] for at in range(MAX_STREAMS)]
    connections = [await ear.connect(FluxSettings()) for _ in names]
    with pytest.raises(EndpointBusy):
        await ear.connect(FluxSettings())
    heard = await asyncio.gather(
        *(
            told(connection, audio(name))
            for connection, name in zip(connections, names, strict=True)
        )
    )
    ends = [
        [plain(turn.transcript) for turn in turns if turn.event is TurnEvent.END_OF_TURN]
        for turns in heard
    ]
    assert ends == [[name.replace("_", " ")] for name in names]
    await (await ear.connect(FluxSettings())).close()


def noises() -> dict[str, bytes]:
    """Eight seconds each of what is no speech."""
    chance = random.Random(20)
    count = 8 * RATE
    white = [chance.gauss(0, 3000) for _ in range(count)]
    brown = [value * 0.02 for value in accumulate(white, lambda sum_, one: 0.999 * sum_ + one)]
    hum = [4000 * sin(2 * pi * 50 * at / RATE) for at in range(count)]
    notes = [440 * 2 ** (step / 12) for step in (0, 4, 7, 12, 7, 4)]
    melody = [5000 * sin(2 * pi * notes[at * 3 // RATE % 6] * at / RATE) for at in range(count)]
    clicks = [20000 if at % 4000 < 20 else 0 for at in range(count)]
    kinds = {
        "silence": [0.0] * count, "white": white, "brown": brown, "hum": hum, "melody": melody,
        "clicks": clicks,
    }  # fmt: skip
    return {
        kind: array("h", [max(-32768, min(32767, int(one))) for one in samples]).tobytes()
        for kind, samples in kinds.items()
    }


def test_detector_finds_the_sentence() -> None:
    """Silero hears where the sentence of a recording begins, and its end within half a second."""
    pcm = audio(LIGHT)
    detector, voice = best_detector(), Voice()
    speaking = []
    for at in range(0, len(pcm) - CHUNK_BYTES, CHUNK_BYTES):
        voice.heard(detector.process_chunk(pcm[at : at + CHUNK_BYTES]))
        speaking.append(voice.speaking and not voice.over)
    assert speaking.index(True) * CHUNK == pytest.approx(0.5, abs=0.2)
    assert sum(speaking) * CHUNK == pytest.approx(2.4, abs=0.2)


async def test_makes_nothing_up(ear: Ear) -> None:
    """Silence, noises, hum, clicks and a melody are no text, which the model alone would give."""
    for kind, pcm in noises().items():
        turns = await told(await ear.connect(FluxSettings()), pcm)
        assert not [turn.transcript for turn in turns if turn.transcript], kind


async def test_fault_of_native_code_ends_only_the_turn(ear: Ear) -> None:
    """When its process dies in a turn, that is a lost connection, and the next turn is heard."""
    connection = await ear.connect(FluxSettings())
    await connection.send_audio(audio(LIGHT)[:RATE])
    os.kill(process_of(ear), signal.SIGSEGV)
    _, end = await until_lost(connection)
    assert "SIGSEGV in native code" in str(end)
    with pytest.raises(ConnectionLost):
        await connection.send_audio(b"\0\0")
    await connection.close()
    await ear.start()
    assert await texts(ear, audio(LIGHT)) == [LIGHT.replace("_", " ")]


async def test_process_that_keeps_dying_is_not_started_without_end() -> None:
    """Within 5 s of its restart it is not started again: the next endpoint is to be asked."""
    now = 0.0
    ear = Ear(usable_model(), clock=lambda: now)
    for _ in range(2):
        await ear.start()
        lost = await ear.connect(FluxSettings())
        os.kill(process_of(ear), signal.SIGKILL)
        await until_lost(lost)
    with pytest.raises(Unreachable, match="SIGKILL"):
        await ear.connect(FluxSettings())
    now = 5.0
    await ear.start()
    await (await ear.connect(FluxSettings())).close()
    await ear.close()


async def test_process_that_hangs_is_ended(ear: Ear) -> None:
    """One that takes nothing and does not answer is a timeout once, and is ended for all."""
    stuck = await ear.connect(FluxSettings())
    os.kill(process_of(ear), signal.SIGSTOP)

    async def send() -> None:
        while True:
            await stuck.send_audio(bytes(2560))

    sender = asyncio.create_task(send())
    with pytest.raises(FluxTimeout):
        await ear.connect(FluxSettings(), timeout=0.5)
    _, end = await until_lost(stuck)
    assert "it did not answer" in str(end)
    with pytest.raises(ConnectionLost):
        await sender


async def test_tokens_stay_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ear's process is not given what the server's environment holds of ours."""
    monkeypatch.setenv("WYOMING_FLUX_TOKEN", "a-token-of-a-test")
    ear = Ear(usable_model())
    await ear.start()
    assert b"a-token-of-a-test" not in Path(f"/proc/{process_of(ear)}/environ").read_bytes()
    await ear.close()


async def test_sender_waits_for_the_ear(ear: Ear) -> None:
    """Audio is not piled up: with nobody reading, sending stops some seconds ahead."""
    connection = await ear.connect(FluxSettings())

    async def send() -> None:
        for _ in range(100):
            await connection.send_audio(bytes(RATE // 5))

    sender = asyncio.create_task(send())
    done, _ = await asyncio.wait({sender}, timeout=0.3)
    assert not done
    heard = 0.0
    while heard < 9.9:
        message = await connection.receive()
        heard = message.audio_window_end if isinstance(message, TurnInfo) else 0.0
    await sender
    await connection.close()


async def test_faults_of_the_caller(ear: Ear) -> None:
    """Half samples, empty frames and unknown control messages are refused at once."""
    connection = await ear.connect(FluxSettings())
    for frame in (b"", b"\0"):
        with pytest.raises(ValueError, match="whole samples"):
            await connection.send_audio(frame)
    with pytest.raises(ValueError, match="ForceEndTurn"):
        await connection.send_control(FORCE_END_TURN)
    await connection.close()
    await connection.close()
    await until_lost(connection)


async def test_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    """A damaged model is a sentence at start, not a crash."""
    damaged = tmp_path / "tiny-en"
    shutil.copytree(usable_model().path, damaged)
    (damaged / "encoder_model.ort").write_bytes(b"not a model")
    ear = Ear(Model(damaged, "tiny"))
    with pytest.raises(Unreachable, match=r"does not run: .*tiny-en"):
        await ear.start()
    await ear.close()


async def test_model_under_a_wrong_kind(tmp_path: Path) -> None:
    """A folder whose name says another kind than its files are is a sentence at start."""
    wrong = tmp_path / "base-en"
    shutil.copytree(usable_model().path, wrong)
    ear = Ear(model_at(wrong))
    with pytest.raises(Unreachable, match="does not work as base"):
        await ear.start()
    await ear.close()


async def test_signals_to_the_group_leave_it_to_us(ear: Ear) -> None:
    """Ctrl-C and SIGTERM to all processes do not end it: the last answers are still to come."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process_of(ear), number)
    assert await texts(ear, audio(LIGHT)) == [LIGHT.replace("_", " ")]


ORPHAN = """
import asyncio, os, pathlib
from wyoming_flux.ear import Ear, usable_model
from wyoming_flux.settings import FluxSettings

async def main():
    ear = Ear(usable_model())
    await ear.start()
    await ear.connect(FluxSettings(), timeout=30)
    print(pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text())
    print(pathlib.Path("/proc/self/maps").read_text(), flush=True)
    os._exit(1)

asyncio.run(main())
"""


def test_server_and_ear_are_two() -> None:
    """The server loads nothing native of the ear; and when it just ends, so does the ear."""
    command = [sys.executable, "-c", ORPHAN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    child, _, maps = done.stdout.partition("\n")
    assert "libc" in maps
    assert "moonshine" not in maps
    assert "silero" not in maps
    try:
        orphan = os.pidfd_open(int(child))
    except ProcessLookupError:
        return
    try:
        assert select.select([orphan], [], [], 10)[0], "it still runs"
    finally:
        os.close(orphan)
