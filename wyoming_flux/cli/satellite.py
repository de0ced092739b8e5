"""Transcribes one recording as a satellite does: as the client of a Wyoming server."""

import asyncio

from wyoming_flux.remote import RemoteTranscriber, ServerError, Wish

from .outcome import Display, Outcome
from .play import play
from .player import Player
from .recording import Recording

__all__ = ["ServerError", "Wish", "transcribe"]


async def transcribe(
    recording: Recording,
    player: Player,
    display: Display,
    *,
    uri: str,
    wish: Wish,
    fast: bool,
    ending: asyncio.Event,
) -> Outcome:
    """Play the recording to the server at *uri* and wait for its transcript.

    In real time the microphone stays open after the recording, as that of a satellite does, until
    the transcript comes; ``fast`` ends the audio with the recording. Raises
    :class:`~wyoming_flux.errors.WyomingFluxError`, ``OSError``.
    """
    transcriber = RemoteTranscriber(
        uri, recording.format, wish, on_partial=display.partial, on_step=display.event
    )
    try:
        await transcriber.connected()
        transcript, after_speech = await play(
            transcriber,
            recording,
            player,
            display,
            ending=ending,
            open_microphone=not (fast or recording.live),
        )
    finally:
        await transcriber.close()
    return Outcome(
        file=recording.name,
        text=transcript.text,
        trigger=transcript.trigger,
        audio_seconds=player.seconds,
        connect_ms=transcriber.connect_ms,
        after_speech_ms=after_speech,
        attempts=1,
    )
