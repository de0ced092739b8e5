"""Transcribes one recording by speaking Flux directly, without a server between."""

import asyncio

from wyoming_flux.audio import Converter
from wyoming_flux.flux import Connector
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Capture, Transcriber

from .outcome import Display, Outcome
from .play import play
from .player import Player
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
    capture: Capture | None = None,
) -> Outcome:
    """Send the recording and wait for the answer; *ending* ends the audio early.

    Raises :class:`~wyoming_flux.errors.WyomingFluxError`, ``OSError``.
    """
    source = recording.format
    # Imports numpy and designs the filter, where that is needed: not in the event loop.
    converter = await asyncio.to_thread(Converter, source, flux.sample_rate)
    display.event(f"connecting to {connector.endpoint.host} ({connector.endpoint.route})")
    async with Transcriber(
        [connector], flux, turn, on_partial=display.partial, capture=capture
    ) as transcriber:
        transcript, after_speech = await play(
            transcriber, recording, player, display, ending=ending, converter=converter
        )
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
