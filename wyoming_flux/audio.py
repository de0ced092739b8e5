"""Any PCM in, linear16 mono at the stream's rate out: what satellites send is not what Flux takes.

numpy is imported only when there is something to compute (:mod:`wyoming_flux.resample`): 16-bit
mono audio at the stream's rate, which most satellites send, passes through untouched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .errors import InvalidAudio, InvalidSetting
from .settings import SAMPLE_RATES

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
        if not _is_int(self.rate) or self.rate not in INPUT_RATES:
            rates = ", ".join(str(rate) for rate in INPUT_RATES)
            raise InvalidAudio(
                f"Audio with a sample rate of {_shown(self.rate)} Hz is not supported;"
                f" possible are {rates} Hz."
            )
        if not _is_int(self.width) or not 1 <= self.width <= MAX_WIDTH:
            raise InvalidAudio(
                f"Audio with a sample width of {_shown(self.width)} bytes is not supported;"
                " possible are 1, 2, 3 and 4 bytes (8, 16, 24 and 32 bit PCM)."
            )
        if not _is_int(self.channels) or not 1 <= self.channels <= MAX_CHANNELS:
            raise InvalidAudio(
                f"Audio with {_shown(self.channels)} channels is not supported;"
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


class Converter:
    """Converts one stream of audio; any split of the input into chunks gives the same bytes.

    ``sample_rate`` is the stream's rate in Hz (:data:`wyoming_flux.settings.SAMPLE_RATES`); raises
    :class:`InvalidSetting` for any other. Unless ``source.matches(sample_rate)`` the constructor
    imports numpy and designs the filter of this ratio, if that has not happened yet in this process
    (tenths of a second and some ms): call it, or :func:`prepare`, outside of the event loop.

    What comes out is s16le mono, in whole samples. Channels are averaged. When the rate changes,
    audio comes out in blocks of 80 ms, a few ms late for want of the filter's look-ahead, but not
    shifted: sample 0 of the output is at the time of sample 0 of the input.
    """

    def __init__(self, source: AudioFormat, sample_rate: int) -> None:
        """Choose the cheapest way from ``source`` to ``sample_rate``."""
        if not _is_int(sample_rate) or sample_rate not in SAMPLE_RATES:
            rates = ", ".join(str(rate) for rate in SAMPLE_RATES)
            raise InvalidSetting(
                "sample_rate", f"sample_rate must be one of {rates}, not {_shown(sample_rate)}"
            )
        self.source: Final = source
        self.sample_rate: Final = sample_rate
        # Whether the audio is forwarded as it is, and numpy stays out.
        self.passthrough: Final = source.matches(sample_rate)
        # Bytes that wait for the rest of their sample frame or block.
        self._rest = bytearray()
        # _step takes a multiple of _unit bytes; _end takes what remains.
        self._unit = source.frame_bytes
        self._step: Callable[[bytes], bytes] = bytes
        self._end: Callable[[bytes], bytes] = _nothing
        if self.passthrough:
            return
        from . import resample

        if source.rate == sample_rate:
            mixer = resample.Mixer(source.width, source.channels)
            self._step = mixer.linear16
        else:
            resampler = resample.Resampler(source, sample_rate)
            self._unit = resampler.block_bytes
            self._step = resampler.blocks
            self._end = resampler.end

    def convert(self, chunk: bytes) -> bytes:
        """Take the next chunk, of any length, and return what is ready: maybe nothing, ``b""``."""
        if not self._rest and len(chunk) % self._unit == 0:
            return self._step(chunk)
        self._rest += chunk
        whole = len(self._rest) - len(self._rest) % self._unit
        if not whole:
            return b""
        ready = bytes(self._rest[:whole])
        del self._rest[:whole]
        return self._step(ready)

    def flush(self) -> bytes:
        """Return the tail at the end of the audio; afterwards the converter is as new.

        All that came out is then ``round(frames * sample_rate / source.rate)`` samples long (halves
        up). An incomplete sample frame at the end is dropped.
        """
        rest = bytes(self._rest[: len(self._rest) - len(self._rest) % self.source.frame_bytes])
        self._rest.clear()
        return self._end(rest)


def prepare() -> None:
    """Import numpy, which takes tenths of a second and 20 MB: not for an event loop."""
    from . import resample  # noqa: F401 - imported for the effect


def _nothing(_rest: bytes) -> bytes:
    # Without a filter there is no tail, and the rest is never a whole sample frame.
    return b""


def _is_int(value: object) -> bool:
    # Formats come from JSON: true must not pass as 1, nor 16000.0 as 16000.
    return type(value) is int


def _shown(value: object) -> str:
    # Formats come from JSON, where a value may be of any type and length.
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
