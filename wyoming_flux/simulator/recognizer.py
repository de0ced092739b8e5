"""What the simulator hears with: the face of a recognizer, and what is loud enough for a voice."""

from typing import Final, Protocol

import numpy as np

FRAME_MS: Final = 10
"""Milliseconds of audio in one frame; all decisions of the simulator fall on frames."""
FINISHED: Final = 0.95
"""Confidence in the end of the turn when a text sounds complete."""
UNFINISHED: Final = 0.45
"""The same when it does not: below every ``eot_threshold``, so only the timeout ends the turn."""
VOICED_PEAK: Final = 1000
"""A frame whose loudest sample reaches this is loud (of 32767)."""


class Recognizer(Protocol):
    """Hears one connection; one turn after the other. Called by one thread at a time."""

    blocking: bool
    """Whether its methods take so long that they belong in a thread."""

    @property
    def text(self) -> str:
        """Text of the running turn so far; more audio may revise it.

        Read whenever a message is due, every 250 ms at least: between two decodings it stays.
        """

    @property
    def confidence(self) -> float:
        """How sure it is, at a pause, that the turn is over (0 to 1)."""

    def hear(self, frame: bytes) -> bool:
        """Take the next frame of linear16 mono; return whether somebody speaks in it."""

    def end_turn(self) -> None:
        """Forget the running turn; what follows belongs to the next."""

    def finish(self) -> None:
        """Decode what is left; no more audio comes."""

    def close(self) -> None:
        """Give up what it holds; called once, at the end of the connection."""


def is_loud(frame: bytes) -> bool:
    """Tell voice from silence by loudness alone, for recognizers that know no better."""
    samples = np.frombuffer(frame, "<i2")
    return bool(samples.max() >= VOICED_PEAK or samples.min() <= -VOICED_PEAK)
