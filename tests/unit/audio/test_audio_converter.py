"""The converter: formats, splits, lengths, rounding; its filter is judged in test_audio_quality."""

import itertools
import math
import subprocess
import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wyoming_flux.audio import FRAME_MS, INPUT_RATES, AudioFormat, Converter, prepare, resample
from wyoming_flux.errors import InvalidAudio, InvalidSetting
from wyoming_flux.settings import SAMPLE_RATES

ROOT = Path(__file__).resolve().parents[3]

formats = st.builds(
    AudioFormat,
    rate=st.sampled_from(INPUT_RATES),
    width=st.integers(1, 4),
    channels=st.integers(1, 8),
)
sample_rates = st.sampled_from(SAMPLE_RATES)


def _noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def _convert(source: AudioFormat, sample_rate: int, chunks: Iterable[bytes]) -> bytes:
    converter = Converter(source, sample_rate)
    pieces = [converter.convert(chunk) for chunk in chunks]
    pieces.append(converter.flush())
    assert all(len(piece) % 2 == 0 for piece in pieces)
    return b"".join(pieces)


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_split_gives_the_same_bytes(data: st.DataObject) -> None:
    """How the input is cut, in whatever format, changes no bit; pieces are whole samples."""
    source = data.draw(formats)
    rate = data.draw(sample_rates)
    size = data.draw(st.integers(0, source.bytes_per_second // 4))
    audio = _noise(size, seed=size)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=12)))
    ends = [0, *cuts, size]
    chunks = [audio[begin:end] for begin, end in itertools.pairwise(ends)]
    assert _convert(source, rate, chunks) == _convert(source, rate, [audio])


@pytest.mark.parametrize("size", [1, 7, 320, 4096])
def test_small_chunks_of_one_size_give_the_same_bytes(size: int) -> None:
    """Even byte by byte: 44.1 kHz, 24 bit, three channels."""
    source = AudioFormat(44100, 3, 3)
    audio = _noise(source.bytes_per_second // 5)
    chunks = [audio[at : at + size] for at in range(0, len(audio), size)]
    assert _convert(source, 16000, chunks) == _convert(source, 16000, [audio])


@settings(deadline=None, max_examples=200)
@given(source=formats, rate=sample_rates, data=st.data())
def test_length_is_input_times_ratio(source: AudioFormat, rate: int, data: st.DataObject) -> None:
    """As many samples as the input lasts, to the sample, halves up; part frames do not count."""
    frames = data.draw(st.integers(0, source.rate // 4))
    extra = data.draw(st.integers(0, source.frame_bytes - 1))
    audio = _noise(frames * source.frame_bytes + extra)
    exact = Fraction(frames * rate, source.rate)
    assert len(_convert(source, rate, [audio])) == 2 * int(exact + Fraction(1, 2))


@settings(deadline=None)
@given(rate=sample_rates, chunks=st.lists(st.binary(max_size=50)))
def test_passthrough_is_identity(rate: int, chunks: list[bytes]) -> None:
    """16-bit mono at the stream's rate comes out as it went in, but for an odd byte at the end."""
    audio = b"".join(chunks)
    assert _convert(AudioFormat(rate, 2, 1), rate, chunks) == audio[: len(audio) // 2 * 2]


def test_passthrough_hands_on_the_same_object() -> None:
    """An even chunk is not even copied."""
    converter = Converter(AudioFormat(16000, 2, 1), 16000)
    chunk = _noise(2048)
    assert converter.passthrough
    assert converter.convert(chunk) is chunk


def test_passthrough_does_not_import_numpy() -> None:
    """The usual satellite costs neither the memory nor the start-up time of numpy."""
    code = """if True:
        import sys
        from wyoming_flux.audio import AudioFormat, Converter
        from wyoming_flux.audio.wav import WavReader
        import wyoming_flux.keyterms
        converter = Converter(AudioFormat(16000, 2, 1), 16000)
        converter.convert(b"abc") + converter.convert(b"d") + converter.flush()
        print("numpy" in sys.modules)
        """
    assert _python(code) == "False"


def test_prepare_imports_numpy_so_that_converters_do_not() -> None:
    """What an event loop must not do has been done by then."""
    code = """if True:
        import sys
        from wyoming_flux.audio import AudioFormat, Converter, prepare
        prepare()
        before = set(sys.modules)
        converter = Converter(AudioFormat(44100, 2, 2), 16000)
        converter.convert(bytes(44100 * 4))
        converter.flush()
        print("numpy" in before, sorted(set(sys.modules) - before))
        """
    assert _python(code) == "True []"
    prepare()


@settings(deadline=None)
@given(
    width=st.integers(1, 4),
    channels=st.integers(1, 8),
    rate=sample_rates.filter(lambda rate: rate in INPUT_RATES),
    seed=st.integers(0, 2**32),
)
def test_mixing_is_exact(width: int, channels: int, rate: int, seed: int) -> None:
    """At the stream's rate each sample is the channels' exact average, rounded once, clipped."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (40, channels, width), np.uint8)
    # The ends of the range, and small numbers, where halves are frequent.
    values[:4] = 255
    values[4:8] = 0
    values[8:12, :, -1] = 127
    values[12:16, :, -1] = 128
    expected = []
    for frame in values:
        samples = [
            sample[0] - 128 if width == 1 else int.from_bytes(bytes(sample), "little", signed=True)
            for sample in frame.tolist()
        ]
        average = Fraction(sum(samples), channels) * Fraction(2) ** (16 - 8 * width)
        expected.append(max(-32768, min(32767, round(average))))
    out = _convert(AudioFormat(rate, width, channels), rate, [values.tobytes()])
    assert np.frombuffer(out, "<i2").tolist() == expected


@pytest.mark.parametrize("rate", [16000, 44100])
def test_channels_are_averaged(rate: int) -> None:
    """Equal channels give what one gives, opposite ones silence, at the same and another rate."""
    mono = np.frombuffer(_noise(rate), "<i2").clip(-32767)
    alone = _convert(AudioFormat(rate, 2, 1), 16000, [mono.tobytes()])
    equal = _convert(AudioFormat(rate, 2, 4), 16000, [np.repeat(mono, 4).tobytes()])
    opposite = np.stack([mono, -mono], axis=1).astype("<i2").tobytes()
    assert equal == alone
    assert not any(_convert(AudioFormat(rate, 2, 2), 16000, [opposite]))


@pytest.mark.parametrize("source_rate", [8000, 48000])
def test_overshoot_is_clipped(source_rate: int) -> None:
    """A square wave at full scale overshoots in any filter; it must not wrap around."""
    period = source_rate // 100
    square = np.tile(np.repeat(np.array([32767, -32768], "<i2"), period // 2), 50)
    out = np.frombuffer(
        _convert(AudioFormat(source_rate, 2, 1), 16000, [square.tobytes()]), "<i2"
    ).astype(float)
    assert out.max() == 32767
    assert out.min() == -32768
    # Well inside each half period the sign is the input's.
    halves = out.reshape(-1, 80)
    middle = halves[:, 20:60]
    assert (middle[::2] > 25000).all()
    assert (middle[1::2] < -25000).all()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_silence_stays_silence(width: int, rate: int) -> None:
    """No offset in any width; 8 bit has its zero at 128. Nor does the end of the audio click."""
    zero = b"\x80" if width == 1 else bytes(width)
    assert not any(_convert(AudioFormat(rate, width, 1), 16000, [zero * rate]))


@pytest.mark.parametrize("rate", [rate for rate in INPUT_RATES if rate != 16000])
def test_start_and_clicks_stay_where_they_are(rate: int) -> None:
    """A click comes out at its own time, at the very start, in the middle and at the end."""
    for moment in (Fraction(0), Fraction(1, 5), Fraction(2, 5)):
        audio = np.zeros(rate * 2 // 5 + math.ceil(rate / 16000), "<i2")
        audio[int(moment * rate)] = 30000
        out = np.frombuffer(_convert(AudioFormat(rate, 2, 1), 16000, [audio.tobytes()]), "<i2")
        assert abs(int(np.argmax(out)) - moment * 16000) <= 1


def test_blocks_are_not_held_back() -> None:
    """Each 80 ms of input give 80 ms of output at once; only the first is short of a few ms."""
    source = AudioFormat(48000, 2, 1)
    converter = Converter(source, 16000)
    frame = bytes(source.bytes_per_second * FRAME_MS // 1000)
    sizes = [len(converter.convert(frame)) for _ in range(3)]
    assert 2560 - 2 * 16 * 4 <= sizes[0] < 2560
    assert sizes[1:] == [2560, 2560]


@pytest.mark.parametrize("source", [AudioFormat(44100, 3, 2), AudioFormat(16000, 2, 1)])
def test_after_flush_the_converter_is_as_new(source: AudioFormat) -> None:
    """A second utterance through the same converter hears nothing of the first."""
    converter = Converter(source, 16000)
    first = _noise(50_001, seed=1)
    second = _noise(50_000, seed=2)
    converter.convert(first)
    converter.flush()
    again = converter.convert(second) + converter.flush()
    assert again == _convert(source, 16000, [second])
    assert converter.flush() == b""


def test_filters_are_kept_and_bounded() -> None:
    """One table per ratio for the whole process, and not without end."""
    info = resample._plan.cache_info()
    assert info.maxsize is not None
    Converter(AudioFormat(44100, 2, 2), 16000)
    hits = resample._plan.cache_info().hits
    Converter(AudioFormat(44100, 1, 1), 16000)
    assert resample._plan.cache_info().hits == hits + 1


@pytest.mark.parametrize(
    ("rate", "width", "channels", "said"),
    [
        (7000, 2, 1, "7000 Hz"),
        (0, 2, 1, "sample rate of 0 Hz"),
        (-16000, 2, 1, "-16000 Hz"),
        (16000.0, 2, 1, "16000.0 Hz"),
        (True, 2, 1, "True Hz"),
        ("16000", 2, 1, "'16000' Hz"),
        (None, 2, 1, "None Hz"),
        ([1] * 1000, 2, 1, "1, 1, 1"),
        (16000, 0, 1, "width of 0 bytes"),
        (16000, 5, 1, "width of 5 bytes"),
        (16000, 2.0, 1, "width of 2.0 bytes"),
        (16000, 2, 0, "0 channels"),
        (16000, 2, 9, "9 channels"),
        (16000, 2, True, "True channels"),
    ],
)
def test_other_formats_are_named(rate: int, width: int, channels: int, said: str) -> None:
    """One sentence: what came and what is possible; whatever JSON may hold."""
    with pytest.raises(InvalidAudio) as raised:
        AudioFormat(rate, width, channels)
    message = str(raised.value)
    assert said in message
    assert "possible are" in message
    assert message.endswith(".")
    assert len(message) < 250


@pytest.mark.parametrize("rate", [7000, 22050, 0, True])
def test_a_rate_that_flux_does_not_take_is_a_setting(rate: int) -> None:
    """The other side is ours: it is the setting that is wrong, not the audio."""
    with pytest.raises(InvalidSetting, match="8000, 16000, 24000, 44100, 48000") as raised:
        Converter(AudioFormat(16000, 2, 1), rate)
    assert raised.value.name == "sample_rate"
