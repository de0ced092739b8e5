"""What an utterance ends in."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from wyoming_flux.errors import ConnectionLost, WyomingFluxError


class Trigger(StrEnum):
    """Why the answer was given at that moment."""

    END_OF_TURN = "end-of-turn"
    """Flux said that the turn is over."""
    AUDIO_STOP = "audio-stop"
    """The client ended the audio."""
    NO_SPEECH = "no-speech"
    """Nothing was said within ``no_speech_timeout``."""
    NO_AUDIO = "no-audio"
    """The client stopped sending without saying so."""
    MAX_TURN = "max-turn"
    """The text grew longer than ``max_turn``."""
    DAILY_LIMIT = "daily-limit"
    """The minutes of the day are used up."""
    CONNECTION_LOST = "connection-lost"
    """Flux went away; this is what it had understood."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The answer to one utterance; an empty ``text`` means that nothing was heard."""

    text: str
    trigger: Trigger
    missing: float = 0.0
    """Seconds of the client's audio that are not in the text; above 0 it is incomplete."""
    fault: WyomingFluxError | None = None
    """Why something is missing."""

    def whole(self) -> Self:
        """Return this transcript if nothing is missing: half a command must not be carried out.

        Raises :class:`~wyoming_flux.errors.ConnectionLost`.
        """
        if self.missing:
            why = f": {self.fault}" if self.fault is not None else ""
            raise ConnectionLost(
                f"only a part was understood, the last {self.missing:.1f} s are missing{why}"
            )
        return self
