"""Transcribes one recording by speaking Flux directly, without a server between."""

import asyncio
import time
from collections.abc import Sequence

from wyoming_flux.audio import Converter
from wyoming_flux.flux.order import in_order
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Capture, Transcriber

from .endpoints import Way
from .outcome import Display, Outcome
from .play import play
from .player import Player
from .recording import Recording


async def transcribe(
    recording: Recording,
    player: Player,
    display: Display,
    *,
    ways: Sequence[Way],
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
    # Nobody checks between files what is down: it is tried again after 30 s.
    ordered = in_order(ways, flux, now=time.monotonic(), minutes=True, watched=False)
    display.event(f"connecting to {', '.join(one.name for one in ordered)}")
    async with Transcriber(
        ordered, flux, turn, on_partial=display.partial, capture=capture
    ) as transcriber:
        transcript, after_speech = await play(
            transcriber,
            recording,
            player,
            display,
            ending=ending,
            converter=converter,
            open_microphone=turn.answer_on == "end-of-turn" and not recording.live,
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
        endpoint=stats.endpoint,
        faults=stats.faults,
    )
