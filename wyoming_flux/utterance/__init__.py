"""From audio to text: one utterance."""

from .outcome import Transcript, Trigger
from .report import Report
from .transcriber import Transcriber

__all__ = ["Report", "Transcriber", "Transcript", "Trigger"]
