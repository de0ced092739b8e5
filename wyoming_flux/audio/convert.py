"""Any PCM in, linear16 mono at the stream's rate out: what satellites send is not what Flux takes.

numpy is imported only when there is something to compute (:mod:`.resample`): 16-bit mono audio at
the stream's rate, which most satellites send, passes through untouched.
"""

from collections.abc import Callable
from typing import Final

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.settings import SAMPLE_RATES

from .format import AudioFormat, is_int, shown


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
        if not is_int(sample_rate) or sample_rate not in SAMPLE_RATES:
            rates = ", ".join(str(rate) for rate in SAMPLE_RATES)
            raise InvalidSetting(
                "sample_rate", f"sample_rate must be one of {rates}, not {shown(sample_rate)}"
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
