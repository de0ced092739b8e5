"""How a recording is played to whoever hears it."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.cli.outcome import Display
from wyoming_flux.cli.play import play
from wyoming_flux.cli.player import Player
from wyoming_flux.cli.recording import Recording
from wyoming_flux.utterance import Transcript, Trigger

FORMAT = AudioFormat(16000, 2, 1)
ANSWERED = Transcript("turn on the light", Trigger.END_OF_TURN)


class Trailing:
    """Takes audio as it comes, says that it was heard, and has the text *seconds* later."""

    done = False

    def __init__(self, seconds: float) -> None:
        self.taken: list[float] = []
        self.ended = False
        self.heard = 0.0
        self._seconds = seconds

    async def send(self, pcm: bytes) -> None:
        self.taken.append(asyncio.get_running_loop().time())
        self.heard += len(pcm) / FORMAT.bytes_per_second

    def end(self) -> None:
        self.ended = True

    async def result(self) -> Transcript:
        await asyncio.sleep(self._seconds)
        return ANSWERED


async def recording_of(seconds: float) -> Recording:
    """Return a recording that can be read at once."""
    left = [bytes(int(seconds * FORMAT.bytes_per_second))]

    async def read() -> bytes:
        return left.pop() if left else b""

    return await Recording("a.raw", read, FORMAT).begin()


def test_an_open_microphone_is_never_silent(
    run_virtual: Callable[[Callable[[], Awaitable[Any]]], Any],
) -> None:
    """Who waits for the end of a turn goes on in silence: seconds without audio would end it."""
    hearer = Trailing(8.0)

    async def scene() -> tuple[Transcript, float | None]:
        recording = await recording_of(3.0)
        return await play(
            hearer,
            recording,
            Player(recording, real_time=False),
            Display("a.raw", as_json=False, label=False, verbose=False, out=io.StringIO()),
            ending=asyncio.Event(),
            converter=Converter(FORMAT, FORMAT.rate),
            open_microphone=True,
        )

    assert run_virtual(scene)[0] is ANSWERED
    assert not hearer.ended
    assert max(b - a for a, b in zip(hearer.taken, hearer.taken[1:], strict=False)) < 0.1
    assert hearer.taken[-1] > 7.9
    assert 10.5 < hearer.heard < 11.5, "in real time after the recording, not at once"
