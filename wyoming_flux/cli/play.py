"""Plays a recording to whoever hears it, and waits for the answer."""

import asyncio
from typing import Final, Protocol

from wyoming_flux.audio import Converter
from wyoming_flux.utterance import Transcript

from .outcome import Display
from .player import Player, slices
from .recording import Recording

_LOOK_EVERY: Final = 0.1
_TOLD_LATE: Final = 0.4
"""Seconds at the end of which Flux may not tell: it does four times a second, of whole frames."""
_STANDSTILL: Final = 3.0
"""Seconds in which it tells of no more: what is missing to the end is heard no earlier."""


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
    open_microphone: float = 0.0,
    to_the_turn: bool = False,
) -> tuple[Transcript, float | None]:
    """Send the recording and wait for the answer; *ending* ends the audio early.

    After the recording the microphone stays open for so many seconds, in silence. *to_the_turn*:
    what comes faster than it is heard ends only once all was heard, since with its end the answer
    is no longer that of the first turn. Returns the transcript, and the milliseconds after the last
    speech. Raises :class:`~wyoming_flux.errors.WyomingFluxError`, ``OSError``.
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
        if to_the_turn:
            await _heard_out(hearer, player.seconds)
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


async def _heard_out(hearer: Hearer, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    furthest, since = -1.0, loop.time()
    while not hearer.done and hearer.heard is not None:
        if hearer.heard > furthest:
            furthest, since = hearer.heard, loop.time()
        if furthest >= seconds - _TOLD_LATE or loop.time() - since > _STANDSTILL:
            return
        await asyncio.sleep(_LOOK_EVERY)
