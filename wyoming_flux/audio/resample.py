"""The computing part of :mod:`.convert`: mixing and resampling with numpy.

Imported only when audio has to be computed; nothing else in the library imports numpy.

The resampler is a polyphase FIR. With ``rate_out / rate_in = L / M`` in lowest terms, output sample
``n`` is the sum of ``x[k] * h(n*M - k*L)`` over the input samples ``k`` near it, ``h`` being a
symmetric low-pass at the rate ``L * rate_in``: there is no group delay to be compensated. All
is computed in blocks of 80 ms, which are whole samples at every supported rate, with operands of
the same shape every time: so how the input was cut cannot change a single bit of the output.

A block is a batch of small matrix products (:class:`_Plan`), because that is what numpy is fast at.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .format import FRAME_MS, AudioFormat

Samples = NDArray[np.float32]

TRANSITION: Final = 0.1
"""Width of the transition band in parts of the lower rate: from 0.45 to 0.55 of it."""
ATTENUATION_DB: Final = 88.0
"""Design value; at least 80 dB are promised, the margin covers float32 and Kaiser's estimate."""
TILE: Final = 32
"""Output samples per matrix row aimed at: fewer copy more input, more multiply by more zeros."""
GEMM_LIMIT: Final = 200_000
"""Multiplications per product; OpenBLAS wakes its threads above 2**18, which costs more here."""


class Mixer:
    """PCM of one format -> mono in units of a 16-bit sample."""

    def __init__(self, width: int, channels: int) -> None:
        """Take bytes per sample and the number of channels."""
        self._width = width
        self._channels = channels
        # A power of two times the channels, so that the division below is exact where it can be.
        self._divisor = channels * 2.0 ** (16 if width >= 3 else 8 * width - 16)

    def linear16(self, data: bytes) -> bytes:
        """Mix whole sample frames to s16le; rounded exactly, halves to even."""
        return linear16(self.mono(data, np.dtype(np.float64)))

    def mono(self, data: bytes | memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Mix whole sample frames to floating point samples of ``dtype``: the channels' average."""
        frames = _integers(data, self._width).reshape(-1, self._channels)
        total = frames[:, 0].astype(dtype)
        for channel in range(1, self._channels):
            np.add(total, frames[:, channel], out=total, dtype=dtype, casting="same_kind")
        if self._width == 1:
            total -= 128 * self._channels
        if self._divisor != 1:
            total /= self._divisor
        return total


class Resampler:
    """One stream from one rate to another, in blocks of 80 ms."""

    def __init__(self, source: AudioFormat, sample_rate: int) -> None:
        """Take the format of the input and the rate of the output in Hz."""
        self._plan = _plan(source.rate, sample_rate)
        self._mixer = Mixer(source.width, source.channels)
        # Bytes of one block of input.
        self.block_bytes: Final = self._plan.block_in * source.frame_bytes
        self._reset()

    def blocks(self, data: bytes) -> bytes:
        """Take any number of whole blocks and return what they give."""
        view = memoryview(data)
        size = self.block_bytes
        return b"".join(
            self._block(self._mixer.mono(view[at : at + size], np.dtype(np.float32)))
            for at in range(0, len(data), size)
        )

    def end(self, rest: bytes) -> bytes:
        """Take the last sample frames (less than a block), return the tail and start anew."""
        plan = self._plan
        last = self._mixer.mono(rest, np.dtype(np.float32))
        frames = self._taken + len(last)
        # Halves up, in integers.
        wanted = (2 * frames * plan.up + plan.down) // (2 * plan.down)
        tail = b""
        missing = wanted - self._given
        block = np.zeros(plan.block_in, np.float32)
        block[: len(last)] = last
        while len(tail) < 2 * missing:
            tail += self._block(block)
            block = np.zeros(plan.block_in, np.float32)
        self._reset()
        return tail[: 2 * missing]

    def _reset(self) -> None:
        plan = self._plan
        self._buffer = np.zeros(plan.buffer, np.float32)
        self._taken = 0
        self._given = 0
        # The first outputs of the first block lie before the start of the audio.
        self._skip = plan.lead

    def _block(self, samples: Samples) -> bytes:
        plan = self._plan
        buffer = self._buffer
        end = plan.history + plan.block_in
        buffer[plan.history : end] = samples
        tiles = np.matmul(buffer.take(plan.inputs), plan.weights)
        output = tiles.transpose(0, 2, 1, 3).reshape(-1)[self._skip :]
        buffer[: plan.history] = buffer[plan.block_in : end]
        self._skip = 0
        self._taken += plan.block_in
        self._given += len(output)
        return linear16(output)


def linear16(samples: NDArray[Any]) -> bytes:
    """Round (halves to even), clip and pack samples as s16le; ``samples`` is overwritten."""
    np.rint(samples, out=samples)
    np.clip(samples, -32768, 32767, out=samples)
    return samples.astype("<i2").tobytes()


def _integers(data: bytes | memoryview, width: int) -> NDArray[Any]:
    if width == 1:
        return np.frombuffer(data, np.uint8)
    if width == 2:
        return np.frombuffer(data, "<i2")
    if width == 3:
        # As the upper three bytes of 32 bit.
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4").reshape(-1)
    return np.frombuffer(data, "<i4")


@dataclass(frozen=True, slots=True)
class _Plan:
    """The matrices of one ratio.

    A tile is a row of consecutive output samples. Tiles whose first sample has the same phase share
    one matrix of ``weights``. The rows are cut into groups, so that no product is too large.
    """

    up: int
    down: int
    block_in: int
    history: int
    """Input samples kept from before the block."""
    buffer: int
    """Length of the buffer: history, block, and a few zeros that are multiplied by zero."""
    lead: int
    """Output samples by which a block's output is behind its input: the filter's look-ahead."""
    inputs: NDArray[np.intp]
    """[group, matrix, row, tap] -> place in the buffer."""
    weights: Samples
    """[matrix, tap, output sample of the tile]."""


# The largest plan takes 0.6 MB; a house has few kinds of satellites.
@functools.lru_cache(maxsize=16)
def _plan(rate_in: int, rate_out: int) -> _Plan:
    common = math.gcd(rate_in, rate_out)
    up, down = rate_out // common, rate_in // common
    # Whole numbers for all rates of INPUT_RATES and SAMPLE_RATES.
    block_in, block_out = rate_in * FRAME_MS // 1000, rate_out * FRAME_MS // 1000
    response = _low_pass(max(up, down))
    half = len(response) // 2
    lead = -(-half // down)

    tile = _tile(up, block_out)
    matrices = max(1, up // tile)
    rows = block_out // (tile * matrices)
    # Output sample (before the lead) and input sample that each tile of the first row begins with.
    starts = np.arange(matrices) * tile - lead
    first = -((half - starts * down) // up)
    width = int(np.max(((starts + tile - 1) * down + half) // up - first)) + 1
    history = -int(first[0])

    outputs = starts[:, None, None] + np.arange(tile)[None, None, :]
    places = first[:, None, None] + np.arange(width)[None, :, None]
    at = outputs * down - places * up + half
    weights = np.where((at >= 0) & (at < len(response)), response.take(at, mode="clip"), 0.0)
    # Each output sample gets a gain of exactly 1 at 0 Hz, whatever its phase.
    weights /= weights.sum(axis=1, keepdims=True)

    step = tile * matrices * down // up
    group = _group(rows, width * tile)
    row = np.arange(rows).reshape(rows // group, 1, group, 1)
    inputs = history + first[:, None, None] + row * step + np.arange(width)
    return _Plan(
        up=up,
        down=down,
        block_in=block_in,
        history=history,
        buffer=max(history + block_in, int(inputs.max()) + 1),
        lead=lead,
        inputs=inputs,
        weights=weights.astype(np.float32),
    )


def _tile(up: int, block_out: int) -> int:
    # Phases repeat every `up` outputs: a tile must divide that, or hold it a whole number of times.
    fitting = [
        size
        for size in range(1, block_out + 1)
        if block_out % size == 0 and (up % size == 0 or size % up == 0)
    ]
    return min(fitting, key=lambda size: abs(math.log(size / TILE)))


def _group(rows: int, cost: int) -> int:
    """Return the largest part of ``rows`` whose product stays small, at least 1."""
    return max(
        size
        for size in range(1, rows + 1)
        if rows % size == 0 and (size == 1 or size * cost <= GEMM_LIMIT)
    )


def _low_pass(steps: int) -> NDArray[np.float64]:
    """Return a Kaiser windowed sinc for a rate ``steps`` times the lower one; its length is odd.

    Half way down at half of the lower rate. Length and window after Kaiser (Oppenheim and Schafer,
    Discrete-Time Signal Processing, 7.5.3).
    """
    beta = 0.1102 * (ATTENUATION_DB - 8.7)
    slope = 2.285 * 2 * math.pi * TRANSITION / steps
    half = math.ceil((ATTENUATION_DB - 7.95) / slope / 2)
    time = np.arange(-half, half + 1)
    window = np.i0(beta * np.sqrt(1 - (time / half) ** 2)) / np.i0(beta)
    return np.asarray(np.sinc(time / steps) * window, dtype=np.float64)
