"""From audio to text: one utterance."""

from .outcome import Transcript, Trigger, TurnStats
from .transcriber import Transcriber

__all__ = ["Transcriber", "Transcript", "Trigger", "TurnStats"]
