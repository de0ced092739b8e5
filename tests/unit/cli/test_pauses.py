"""Input that pauses: a slow network in front of the pipe, a decoder that waits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.support.coded import speak
from wyoming_flux.audio import AudioFormat
from wyoming_flux.cli.outcome import Display
from wyoming_flux.cli.play import play
from wyoming_flux.cli.player import Player
from wyoming_flux.cli.recording import Recording
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Transcriber, Transcript, Trigger

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]


async def heard(
    connector: Any, pieces: Sequence[bytes | float], *, real_time: bool = False
) -> Transcript:
    """Transcribe what a pipe gives: bytes, and seconds in which it gives none."""
    coming = iter(pieces)

    async def read() -> bytes:
        for piece in coming:
            if isinstance(piece, bytes):
                return piece
            await asyncio.sleep(piece)
        return b""

    recording = await Recording("-", read, AudioFormat(16000, 2, 1)).begin()
    display = Display("-", as_json=False, label=False, verbose=False, quiet=True)
    settings = UtteranceSettings(answer_on="audio-stop", wake_phrases=())
    async with Transcriber([connector], FluxSettings(), settings) as transcriber:
        player = Player(recording, real_time=real_time)
        ending = asyncio.Event()
        transcript, _ = await play(transcriber, recording, player, display, ending=ending)
        return transcript


@pytest.mark.parametrize("real_time", [False, True], ids=["fast", "real-time"])
@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("pause", [4.0, 90.0])
def test_what_comes_after_a_pause_is_heard(
    run_virtual: Virtual,
    memory_connector: Any,
    pause: float,
    odd: int,
    *,
    real_time: bool,
) -> None:
    """A pipe that pauses between two words, or samples, and goes on has the text of all of it."""
    first, second = (speak(text) for text in ("turn on the", "living room light"))
    pieces = [first + second[:odd], pause, second[odd:] + bytes(48_000)]
    connector = memory_connector(recognizer="coded")
    paused = run_virtual(lambda: heard(connector, pieces, real_time=real_time))
    assert paused == Transcript("turn on the living room light", Trigger.AUDIO_STOP)
