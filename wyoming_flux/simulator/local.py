"""Real text for real speech: the ear of this machine as a recognizer (extra ``local``).

In this process, unlike the ear of a server: who tries things out can start it again.
"""

import functools
import threading
import time
from typing import Final

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.ear.detector import Detector, silero
from wyoming_flux.ear.model import usable_model
from wyoming_flux.ear.native import Moonshine
from wyoming_flux.ear.turns import CHUNK_BYTES, RATE, Turns
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux.messages import TurnEvent

from .recognizer import FINISHED

_lock: Final = threading.Lock()
"""Moonshine decodes for one thread at a time, its result included."""
_detectors: Final[list[Detector]] = []


@functools.cache
def _model() -> Moonshine:
    return Moonshine(usable_model())


def local_is_installed() -> bool:
    """Whether this machine has what the recognizer needs; loads nothing."""
    try:
        usable_model()
    except InvalidSetting:
        return False
    return True


def require_local() -> None:
    """Load the model, so that the first connection need not; blocks for about 0.5 s.

    Raises :class:`InvalidSetting` where the extra is missing, ``OSError`` for a damaged model.
    """
    with _lock:
        _model()


class LocalRecognizer:
    """Hears with Moonshine; Silero's detector tells what is voiced, so that noise is not."""

    blocking = True
    confidence = FINISHED
    """It cannot tell whether a sentence is complete: a pause ends the turn."""

    def __init__(self, sample_rate: int) -> None:
        """Hear linear16 mono of *sample_rate* Hz; nothing is loaded before the first frame."""
        self._converter = Converter(AudioFormat(sample_rate, 2, 1), RATE)
        self._detector: Detector | None = None
        self._audio = bytearray()
        self._samples = 0
        self.end_turn()

    @property
    def text(self) -> str:
        """Text of the turn so far; it stands 192 ms after the last voice."""
        return " ".join(part for part in (*self._ended, self._text) if part)

    def hear(self, frame: bytes) -> bool:
        """Take a frame; return whether somebody speaks, 32 ms at a time."""
        self._add(self._converter.convert(frame))
        return self._turns.voiced

    def end_turn(self) -> None:
        """Forget the running turn."""
        self._turns = Turns()
        self._ended: list[str] = []
        self._text = ""

    def finish(self) -> None:
        """Decode what is left."""
        self._add(self._converter.flush())
        if self._audio:
            self._add(bytes(CHUNK_BYTES - len(self._audio)))
        self._turns.finish(self._samples)
        self._decode()

    def close(self) -> None:
        """Leave the detector to the next connection."""
        if self._detector is not None:
            self._detector.reset()
            _detectors.append(self._detector)
            self._detector = None

    def _add(self, pcm: bytes) -> None:
        self._audio += pcm
        self._samples += len(pcm) // 2
        while len(self._audio) >= CHUNK_BYTES:
            chunk = bytes(self._audio[:CHUNK_BYTES])
            del self._audio[:CHUNK_BYTES]
            if self._detector is None:
                self._detector = _detectors.pop() if _detectors else silero()
            self._turns.heard(chunk, self._detector.process_chunk(chunk))
            self._decode()

    def _decode(self) -> None:
        while (job := self._turns.job(idle=True)) is not None:
            began = time.monotonic()
            with _lock:
                text = _model().decode(job.pcm)
            self._turns.decoded(job, text, time.monotonic() - began)
        for told in self._turns.messages():
            self._text = told.transcript
            if told.event is TurnEvent.END_OF_TURN:
                # A pause that ends no turn of the simulator: what it waits for is its own.
                self._ended.append(told.transcript)
                self._text = ""
