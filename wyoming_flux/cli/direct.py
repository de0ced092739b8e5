"""Transcribes one recording by speaking Flux directly, without a server between."""

import asyncio

from wyoming_flux.audio import Converter
from wyoming_flux.flux import Connector
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Transcriber

from .outcome import Display, Outcome
from .player import Player, slices
from .recording import Recording


async def transcribe(
    recording: Recording,
    player: Player,
    display: Display,
    *,
    connector: Connector,
    flux: FluxSettings,
    turn: UtteranceSettings,
    ending: asyncio.Event,
) -> Outcome:
    """Send the recording and wait for the answer; *ending* ends the audio early.

    Raises :class:`~wyoming_flux.errors.WyomingFluxError`, ``OSError``.
    """
    source = recording.format
    # Imports numpy and designs the filter, where that is needed: not in the event loop.
    converter = await asyncio.to_thread(Converter, source, flux.sample_rate)
    display.event(f"connecting to {connector.endpoint.host} ({connector.endpoint.route})")
    async with Transcriber([connector], flux, turn, on_partial=display.partial) as transcriber:

        async def feed() -> None:
            display.begin(recording.seconds)
            async for chunk in player.chunks():
                for piece in slices(chunk, source):
                    await transcriber.send(converter.convert(piece))
                if transcriber.done:
                    return
            await transcriber.send(converter.flush())
            display.event("the audio ends")
            transcriber.end()

        async def end_early() -> None:
            await ending.wait()
            feeder.cancel()
            transcriber.end()

        feeder = asyncio.create_task(feed(), name="feed")
        stopper = asyncio.create_task(end_early(), name="end early")
        answer = asyncio.create_task(transcriber.result(), name="answer")
        try:
            await asyncio.wait((feeder, answer), return_when=asyncio.FIRST_COMPLETED)
            if feeder.done() and not feeder.cancelled() and (fault := feeder.exception()):
                raise fault
            transcript = await answer
            after_speech = player.after_speech_ms
        finally:
            for task in (feeder, stopper, answer):
                task.cancel()
            await asyncio.gather(feeder, stopper, answer, return_exceptions=True)
        stats = transcriber.report
    display.event(f"transcript ({transcript.trigger})")
    return Outcome(
        file=recording.name,
        text=transcript.text,
        trigger=transcript.trigger,
        missing=transcript.missing,
        audio_seconds=stats.audio_seconds,
        connect_ms=stats.connect_ms,
        after_speech_ms=after_speech,
        attempts=stats.attempts,
    )
