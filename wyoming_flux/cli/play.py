"""Plays a recording to whoever hears it, and waits for the answer."""

import asyncio
from typing import Protocol

from wyoming_flux.audio import Converter
from wyoming_flux.utterance import Transcript

from .outcome import Display
from .player import Player, slices
from .recording import Recording


class Hearer(Protocol):
    """One utterance: a ``Transcriber``, or a ``RemoteTranscriber``."""

    async def send(self, pcm: bytes) -> None:
        """Take audio."""

    def end(self) -> None:
        """Take note that there is no more."""

    @property
    def done(self) -> bool:
        """Whether the result is known."""

    async def result(self) -> Transcript:
        """Wait for the transcript."""


async def play(
    hearer: Hearer,
    recording: Recording,
    player: Player,
    display: Display,
    *,
    ending: asyncio.Event,
    converter: Converter | None = None,
    open_microphone: float = 0.0,
) -> tuple[Transcript, float | None]:
    """Send the recording and wait for the answer; *ending* ends the audio early.

    After the recording the microphone stays open for so many seconds, in silence. Returns the
    transcript, and the milliseconds after the last speech. Raises
    :class:`~wyoming_flux.errors.WyomingFluxError`, ``OSError``.
    """

    async def feed() -> None:
        display.begin(recording.seconds)
        async for chunk in player.chunks():
            for piece in slices(chunk, recording.format):
                await hearer.send(piece if converter is None else converter.convert(piece))
            if hearer.done:
                return
        if converter is not None:
            await hearer.send(converter.flush())
        if open_microphone:
            display.event("the recording ends; the microphone stays open")
            async for chunk in player.silence(open_microphone):
                await hearer.send(chunk)
        display.event("the audio ends")
        hearer.end()

    async def end_early() -> None:
        await ending.wait()
        feeder.cancel()
        hearer.end()

    feeder = asyncio.create_task(feed(), name="feed")
    stopper = asyncio.create_task(end_early(), name="end early")
    answer = asyncio.create_task(hearer.result(), name="answer")
    try:
        await asyncio.wait((feeder, answer), return_when=asyncio.FIRST_COMPLETED)
        if feeder.done() and not feeder.cancelled() and (fault := feeder.exception()):
            raise fault
        transcript = await answer
        return transcript, player.after_speech_ms
    finally:
        for task in (feeder, stopper, answer):
            task.cancel()
        await asyncio.gather(feeder, stopper, answer, return_exceptions=True)
