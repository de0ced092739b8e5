"""What PCM can be: rate, width and channels, checked once."""

from dataclasses import dataclass
from typing import Final

from wyoming_flux.errors import InvalidAudio

FRAME_MS: Final = 80
"""Length of a frame in milliseconds: what Flux is sent at a time, and the resampler's block."""

INPUT_RATES: Final = (
    8000,
    11025,
    12000,
    16000,
    22050,
    24000,
    32000,
    44100,
    48000,
    88200,
    96000,
    176400,
    192000,
)
"""Sample rates in Hz that can be converted; 80 ms of each is a whole number of samples."""

MAX_CHANNELS: Final = 8
MAX_WIDTH: Final = 4


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """PCM as it comes in: little-endian, channels interleaved; 8 bit is unsigned as in WAV.

    Raises :class:`InvalidAudio`, naming what is wrong and what is possible.
    """

    rate: int
    """Sample rate in Hz, one of :data:`INPUT_RATES`."""
    width: int
    """Bytes per sample, 1 to 4."""
    channels: int
    """Channels per sample frame, 1 to 8."""

    def __post_init__(self) -> None:
        """Check that each of the three can be converted."""
        if not is_int(self.rate) or self.rate not in INPUT_RATES:
            rates = ", ".join(str(rate) for rate in INPUT_RATES)
            raise InvalidAudio(
                f"Audio with a sample rate of {shown(self.rate)} Hz is not supported;"
                f" possible are {rates} Hz."
            )
        if not is_int(self.width) or not 1 <= self.width <= MAX_WIDTH:
            raise InvalidAudio(
                f"Audio with a sample width of {shown(self.width)} bytes is not supported;"
                " possible are 1, 2, 3 and 4 bytes (8, 16, 24 and 32 bit PCM)."
            )
        if not is_int(self.channels) or not 1 <= self.channels <= MAX_CHANNELS:
            raise InvalidAudio(
                f"Audio with {shown(self.channels)} channels is not supported;"
                f" possible are 1 to {MAX_CHANNELS}."
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample frame: one sample of every channel."""
        return self.width * self.channels

    @property
    def bytes_per_second(self) -> int:
        """Bytes of one second of audio."""
        return self.rate * self.frame_bytes

    def matches(self, sample_rate: int) -> bool:
        """Tell whether this is 16-bit mono at ``sample_rate`` Hz, so that nothing is converted."""
        return self.width == 2 and self.channels == 1 and self.rate == sample_rate


def is_int(value: object) -> bool:
    """Tell whether this is a whole number; from JSON, true must not pass as 1, nor 1.0."""
    return type(value) is int


def shown(value: object) -> str:
    """Return a value from JSON, which may be of any type and length, for a sentence."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
