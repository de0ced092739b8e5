"""The ear on this machine: load, memory, CPU, the time after the last word; noise without a word.

``.venv/bin/python tests/bench/bench_ear.py [--streams 1,4,8] [--noise SECONDS]``; needs the extra
``local``. Sentences are the samples of this project, in real time.
"""

import argparse
import asyncio
import os
import random
import sys
import time
import wave
from array import array
from collections.abc import Iterator
from itertools import accumulate
from math import pi, sin
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from wyoming_flux.ear import Ear, EarConnection, usable_model  # noqa: E402 - the path comes first
from wyoming_flux.ear.detector import Loudness  # noqa: E402
from wyoming_flux.ear.turns import CHUNK, CHUNK_BYTES, RATE  # noqa: E402
from wyoming_flux.errors import ConnectionLost  # noqa: E402
from wyoming_flux.flux.messages import CLOSE_STREAM, TurnEvent, TurnInfo  # noqa: E402
from wyoming_flux.settings import FluxSettings  # noqa: E402

SAMPLES = (
    "turn_on_the_living_room_light",
    "close_the_garage_door",
    "set_the_bedroom_temperature_to_twenty_degrees",
)
FRAME = RATE * 80 // 1000 * 2


def recording(name: str) -> bytes:
    """The audio of a sample."""
    with wave.open(str(ROOT / "samples" / f"{name}.wav")) as file:
        return file.readframes(file.getnframes())


def end_of_speech(pcm: bytes) -> float:
    """Seconds to the end of the last 32 ms above -40 dBFS."""
    level = Loudness()
    places = range(0, len(pcm) - CHUNK_BYTES, CHUNK_BYTES)
    loud = [at for at in places if level.process_chunk(pcm[at : at + CHUNK_BYTES])]
    return (loud[-1] / CHUNK_BYTES + 1) * CHUNK


async def listen(
    connection: EarConnection, pcm: bytes, *, real_time: bool
) -> list[tuple[float, TurnInfo]]:
    """Send the audio; all that is told, with the seconds since the first sample."""
    began = time.monotonic()

    async def send() -> None:
        for at in range(0, len(pcm), FRAME):
            if real_time:
                due = began + (at + FRAME) / (2 * RATE)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await connection.send_audio(pcm[at : at + FRAME])
        await connection.send_control(CLOSE_STREAM)

    sender = asyncio.create_task(send())
    told = []
    try:
        while True:
            message = await connection.receive()
            if isinstance(message, TurnInfo):
                told.append((time.monotonic() - began, message))
    except ConnectionLost as end:
        if end.close_code != 1000:
            raise
    await sender
    await connection.close()
    return told


def cpu(process: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int | str) -> int:
    """MB that a process holds."""
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) // 1000


async def sentences(ear: Ear, process: int, count: int) -> None:
    """Measure so many sentences that begin within half a second."""
    names = [SAMPLES[at % len(SAMPLES)] for at in range(count)]
    before, ours = cpu(process), time.process_time()

    async def one(at: int) -> tuple[float, bool]:
        await asyncio.sleep(at * 0.5 / count)
        pcm = recording(names[at])
        told = await listen(await ear.connect(FluxSettings()), pcm, real_time=True)
        ends = [(now, turn) for now, turn in told if turn.event is TurnEvent.END_OF_TURN]
        right = [turn.transcript.lower().rstrip(".") for _, turn in ends] == [
            names[at].replace("_", " ")
        ]
        return (ends[0][0] if ends else 99.0) - end_of_speech(pcm), right

    found = await asyncio.gather(*(one(at) for at in range(count)))
    late = sorted(seconds for seconds, _ in found)
    seconds = sum(len(recording(name)) for name in names) / 2 / RATE
    print(
        f"{count} at once: {sum(right for _, right in found)} right; after the last word median"
        f" {late[len(late) // 2]:.2f} s, longest {late[-1]:.2f} s; CPU of the ear"
        f" {(cpu(process) - before) / seconds:.2f} s and of the server"
        f" {(time.process_time() - ours) / seconds:.3f} s per second of audio;"
        f" memory of the ear {memory(process)} MB",
        flush=True,
    )


def scenes() -> Iterator[tuple[str, bytes]]:
    """Ten seconds each of what a television gives beside speech, for ever."""
    chance = random.Random(7)
    count = 10 * RATE
    white = [chance.gauss(0, 1) for _ in range(count)]
    brown = list(accumulate(white, lambda total, one: 0.99 * total + one))
    while True:
        root = chance.choice((110, 147, 196, 262))
        chord = [root * 2 ** (step / 12) for step in (0, chance.choice((3, 4)), 7, 12)]
        tempo = chance.choice((RATE // 2, RATE // 3))
        beats = [2.7 ** (-(at % tempo) / 900) for at in range(count)]
        swell = [
            0.5 + 0.5 * sin(2 * pi * at / RATE / chance.uniform(3, 3.01)) for at in range(count)
        ]
        music = [
            beats[at] * 0.6 * white[at]
            + sum(sin(2 * pi * tone * (1 + at // (2 * RATE) % 3 / 4) * at / RATE) for tone in chord)
            for at in range(count)
        ]
        kinds = {
            "chords and drums": music,
            "applause": [
                white[at] * (0.4 + 0.6 * abs(sin(at / 37) * sin(at / 211))) for at in range(count)
            ],
            "wind": [0.2 * brown[at] * swell[at] for at in range(count)],
            "engine": [
                brown[at] * 0.1 + sum(sin(2 * pi * 55 * k * at / RATE) / k for k in range(1, 9))
                for at in range(count)
            ],
            "siren": [
                sin(2 * pi * 700 * at / RATE + 150 * sin(2 * pi * at / RATE / 2)) + 0.2 * white[at]
                for at in range(count)
            ],
            "music over wind": [
                0.5 * one + 0.1 * two for one, two in zip(music, brown, strict=True)
            ],
        }
        for kind, samples in kinds.items():
            loudness = chance.choice((1500, 4000, 9000)) / max(
                1e-9, (sum(one * one for one in samples) / count) ** 0.5
            )
            yield (
                kind,
                array(
                    "h", [max(-32768, min(32767, int(one * loudness))) for one in samples]
                ).tobytes(),
            )


async def noise(ear: Ear, seconds: int) -> None:
    """Let it hear so many seconds of noise and music; print every word."""
    words = 0
    found = scenes()
    for _ in range(0, seconds, 10):
        kind, pcm = next(found)
        told = await listen(await ear.connect(FluxSettings()), pcm, real_time=False)
        texts = {turn.transcript for _, turn in told if turn.transcript}
        words += len(texts)
        if texts:
            print(f"{kind}: {texts}", flush=True)
    print(f"{seconds} s of noise and music: {words} texts", flush=True)


async def measure(streams: list[int], noisy: int) -> None:
    """Measure and print."""
    ear = Ear(usable_model())
    print(f"loaded in {await ear.start():.2f} s")
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8").split()
    process = int(children[0])
    print(f"memory at rest: the ear {memory(process)} MB, this process {memory('self')} MB")
    for count in streams:
        await sentences(ear, process, count)
    if noisy:
        await noise(ear, noisy)
    await ear.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", default="1,4,8")
    parser.add_argument("--noise", type=int, default=0, metavar="SECONDS")
    chosen = parser.parse_args()
    asyncio.run(measure([int(one) for one in chosen.streams.split(",")], chosen.noise))
