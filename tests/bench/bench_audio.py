"""How fast audio is converted, as times real time, beside soxr where that is installed.

``python tests/bench/bench_audio.py [--json] [--seconds 10]``; :func:`measure` is for script/bench.
"""

import argparse
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wyoming_flux.audio import AudioFormat, Converter

CASES = (
    (AudioFormat(16000, 2, 1), 16000),
    (AudioFormat(16000, 2, 2), 16000),
    (AudioFormat(8000, 2, 1), 16000),
    (AudioFormat(22050, 2, 1), 16000),
    (AudioFormat(44100, 2, 2), 16000),
    (AudioFormat(48000, 2, 1), 16000),
    (AudioFormat(48000, 3, 3), 16000),
    (AudioFormat(192000, 4, 8), 16000),
    (AudioFormat(16000, 2, 1), 48000),
    (AudioFormat(48000, 2, 1), 44100),
)
CHUNK_SECONDS = 0.02
"""What satellites send at a time, more or less."""


@dataclass(frozen=True, slots=True)
class Row:
    """One conversion; times are how many seconds of audio are converted in one second."""

    source: str
    sample_rate: int
    real_time: float
    soxr_real_time: float | None
    first_ms: float
    """Making the first converter of this ratio in the process: the design of the filter."""


def measure(seconds: float = 10.0, repeat: int = 3) -> list[Row]:
    """Convert ``seconds`` of noise in each of the cases, in chunks of 20 ms; best of ``repeat``."""
    return [_measure(source, rate, seconds, repeat) for source, rate in CASES]


def _measure(source: AudioFormat, rate: int, seconds: float, repeat: int) -> Row:
    frames = int(source.rate * seconds)
    noise = np.random.default_rng(1).integers(0, 256, frames * source.frame_bytes, np.uint8)
    data = noise.tobytes()
    begin = time.perf_counter()
    Converter(source, rate)
    first = time.perf_counter() - begin
    size = int(source.rate * CHUNK_SECONDS) * source.frame_bytes
    chunks = [data[at : at + size] for at in range(0, len(data), size)]

    def ours() -> None:
        converter = Converter(source, rate)
        for chunk in chunks:
            converter.convert(chunk)
        converter.flush()

    theirs = None
    if source.rate != rate and importlib.util.find_spec("soxr"):
        theirs = _soxr(source, rate, chunks)
    return Row(
        source=f"{source.rate} Hz, {8 * source.width} bit, {source.channels} ch",
        sample_rate=rate,
        real_time=seconds / _best(ours, repeat),
        soxr_real_time=seconds / _best(theirs, repeat) if theirs else None,
        first_ms=first * 1000,
    )


def _soxr(source: AudioFormat, rate: int, chunks: list[bytes]) -> Callable[[], None]:
    """Return the same work with soxr (HQ) in place of our filter; the mixing is ours."""
    import soxr  # type: ignore[import-untyped]  # it has no type information

    from wyoming_flux.audio.resample import Mixer

    mixer = Mixer(source.width, source.channels)

    def run() -> None:
        stream = soxr.ResampleStream(source.rate, rate, 1, dtype="float32")
        for chunk in chunks:
            mono = mixer.mono(chunk, np.dtype(np.float32))
            resampled = stream.resample_chunk(mono)
            np.clip(np.rint(resampled), -32768, 32767).astype("<i2").tobytes()
        stream.resample_chunk(np.zeros(0, np.float32), last=True)

    return run


def _best(work: Callable[[], None], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--seconds", type=float, default=10.0, help="audio to convert per case")
    arguments = parser.parse_args()
    rows = measure(arguments.seconds)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    print(f"{'from':<24}{'to Hz':>7}{'x real time':>13}{'soxr':>9}{'first, ms':>11}")
    for row in rows:
        theirs = f"{row.soxr_real_time:.0f}" if row.soxr_real_time else "-"
        print(
            f"{row.source:<24}{row.sample_rate:>7}{row.real_time:>13.0f}{theirs:>9}"
            f"{row.first_ms:>11.1f}"
        )


if __name__ == "__main__":
    main()
