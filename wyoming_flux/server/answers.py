"""What a turn says to the client, as bytes.

Order of a streaming answer (``wyoming/asr.py``): ``transcript-start``, ``transcript-chunk`` any
number of times, ``transcript``, ``transcript-stop``. Home Assistant reads ``transcript`` and
``error`` alone; wyoming-bench waits for ``transcript-stop`` in its streaming mode.
"""

from typing import Final

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.error import Error
from wyoming.event import Event

from wyoming_flux.errors import WyomingFluxError

from .events import encode

_START: Final = encode(TranscriptStart().event())
_STOP: Final = encode(TranscriptStop().event())


class Answer:
    """Writes the answer to one turn; ``transcript-start`` goes in front of what comes first."""

    __slots__ = ("_started",)

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._started = False

    def partial(self, text: str) -> bytes:
        """Return *text*, to be appended to what came before."""
        return self._start() + encode(TranscriptChunk(text).event())

    def transcript(self, text: str) -> bytes:
        """Return the whole transcript, and that nothing follows."""
        return self._start() + encode(Transcript(text).event()) + _STOP

    def _start(self) -> bytes:
        start = b"" if self._started else _START
        self._started = True
        return start


def encode_error(error: WyomingFluxError) -> bytes:
    """Return the ``error`` event for *error*."""
    return encode(Error(text=str(error), code=error.code).event())


def encode_pong(text: str | None) -> bytes:
    """Return the answer to a ``ping``."""
    return encode(Event("pong", {"text": text}))
