"""Plays a recording to whoever hears it, and waits for the answer."""

import asyncio
from typing import Final, Protocol

from wyoming_flux.audio import Converter
from wyoming_flux.utterance import Transcript

from .outcome import Display
from .player import Player, slices
from .recording import Recording

_LOOK_EVERY: Final = 0.1
OPEN_MICROPHONE: Final = 30.0
"""Seconds of silence after the recording, then the client ends its audio."""


class Hearer(Protocol):
    """One utterance: a ``Transcriber``, or a ``RemoteTranscriber``."""

    async def send(self, pcm: bytes) -> None:
        """Take audio."""

    def end(self) -> None:
        """Take note that there is no more."""

    @property
    def done(self) -> bool:
        """Whether the result is known."""

    @property
    def heard(self) -> float | None:
        """Seconds that were heard so far; None: nobody tells."""

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
    open_microphone: bool = False,
) -> tuple[Transcript, float | None]:
    """Send the recording and wait for the answer; *ending* ends the audio early.

    *open_microphone*: after the recording silence follows, as that of a room. With the end of the
    audio the answer would be that of all turns, and who sends nothing for some seconds has ended
    it. Returns the transcript, and the milliseconds after the last speech. Raises
    :class:`~wyoming_flux.errors.WyomingFluxError`, ``OSError``.
    """

    async def give(chunk: bytes) -> None:
        for piece in slices(chunk, recording.format):
            await hearer.send(piece if converter is None else converter.convert(piece))

    async def feed() -> None:
        display.begin(recording.seconds)
        async for chunk in player.chunks():
            await give(chunk)
            if hearer.done:
                return
        if open_microphone:
            display.event("the recording ends; the microphone stays open")
            async for chunk in player.silence(OPEN_MICROPHONE):
                await give(chunk)
        if converter is not None:
            await hearer.send(converter.flush())
        display.event("the audio ends")
        hearer.end()

    async def end_early() -> None:
        await ending.wait()
        display.event("Ctrl-C: the audio ends")
        feeder.cancel()
        hearer.end()

    feeder = asyncio.create_task(feed(), name="feed")
    watcher = asyncio.create_task(_watch(hearer, player, display), name="watch")
    stopper = asyncio.create_task(end_early(), name="end early")
    answer = asyncio.create_task(hearer.result(), name="answer")
    try:
        await asyncio.wait((feeder, answer), return_when=asyncio.FIRST_COMPLETED)
        if feeder.done() and not feeder.cancelled() and (fault := feeder.exception()):
            raise fault
        transcript = await answer
        if watcher.done():
            watcher.result()  # which never ends but by a fault
        return transcript, player.after_speech_ms
    finally:
        tasks = (feeder, watcher, stopper, answer)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(hearer: Hearer, player: Player, display: Display) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        if hearer.heard is None:
            display.progress(player.seconds, "sent")
        else:
            display.progress(hearer.heard, "heard")
