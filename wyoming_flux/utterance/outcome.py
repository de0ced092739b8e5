"""What a turn ends in, and what it cost."""

from dataclasses import dataclass
from enum import StrEnum


class Trigger(StrEnum):
    """Why the transcript was given at that moment."""

    END_OF_TURN = "end-of-turn"
    """Flux said that the turn is over."""
    AUDIO_STOP = "audio-stop"
    """The client ended the audio."""
    NO_SPEECH = "no-speech"
    """Nothing was said within ``no_speech_timeout``."""
    NO_AUDIO = "no-audio"
    """The client stopped sending without saying so."""
    MAX_TURN = "max-turn"
    """The turn grew longer than ``max_turn``."""
    CONNECTION_LOST = "connection-lost"
    """Flux went away; this is what it had understood."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The answer to one utterance; an empty ``text`` means that nothing was heard."""

    text: str
    trigger: Trigger


@dataclass(slots=True)
class TurnStats:
    """What a turn cost; valid at any time, final once the result is known."""

    audio_seconds: float = 0.0
    """Audio sent to Flux in seconds, silence and replays included: what is billed."""
    connect_ms: float | None = None
    """Milliseconds that the first successful connection took."""
    attempts: int = 0
    """Connections that were tried."""
    after_audio_ms: float | None = None
    """Milliseconds from the last client audio to the result."""
