"""From audio to text: one utterance."""

from .capture import Capture
from .outcome import Transcript, Trigger
from .report import Report
from .transcriber import Transcriber

__all__ = ["Capture", "Report", "Transcriber", "Transcript", "Trigger"]
