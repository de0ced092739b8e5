"""When somebody spoke last."""

import pytest

from wyoming_flux.audio import AudioFormat, Level


def widened(pcm: bytes, width: int, channels: int) -> bytes:
    """The same 16-bit mono audio in another format."""
    samples = [pcm[at : at + 2] for at in range(0, len(pcm), 2)]
    if width == 1:
        return b"".join(bytes([sample[1] ^ 0x80]) * channels for sample in samples)
    return b"".join((bytes(width - 2) + sample) * channels for sample in samples)


def spoke_at(pcm: bytes, source: AudioFormat, size: int = 320) -> float | None:
    """When somebody spoke last in audio that comes in real time, in pieces, from 100 s on."""
    level = Level(source)
    for at in range(0, len(pcm), size):
        piece = pcm[at : at + size]
        level.feed(piece, 100 + (at + len(piece)) / source.bytes_per_second)
    return level.spoke_at


@pytest.mark.parametrize("size", [1, 7, 320, 4096, 48000])
@pytest.mark.parametrize(
    "source",
    [AudioFormat(16000, 2, 1), AudioFormat(16000, 1, 1), AudioFormat(16000, 3, 2)],
    ids=lambda source: f"{8 * source.width}x{source.channels}",
)
def test_the_end_of_speech_is_found(spoken, source: AudioFormat, size: int) -> None:
    """In any format and however it is cut, the end is that of the last 20 ms with voice."""
    pcm = widened(spoken(0.3, 1.0, 0.7), source.width, source.channels)
    assert spoke_at(pcm, source, size) == pytest.approx(101.3, abs=0.021)


@pytest.mark.parametrize(
    ("sample", "width"),
    [(512, 1), (-512, 1), (400, 2), (-400, 2), (400, 3), (-400, 3), (400, 4), (-400, 4)],
)
def test_quiet_speech_is_heard(sample: int, width: int) -> None:
    """A peak of 400 of 32768 (of 8 bits: 2 of 128) on one side is speech, in every bit of it."""
    pcm = sample.to_bytes(2, "little", signed=True) + bytes(638)
    source = AudioFormat(16000, width, 1)
    assert spoke_at(widened(pcm, width, 1), source) == pytest.approx(100.02)


def test_silence_has_no_end_of_speech(spoken) -> None:
    """Where nobody spoke there is nothing to count from."""
    assert spoke_at(spoken(1.0), AudioFormat(16000, 2, 1)) is None


@pytest.mark.parametrize(
    ("loud", "then", "end"),
    [(0, 300, None), (0, 301, 102), (16000, 1600, 101), (16000, 1601, 102), (16000, 800, 101)],
)
def test_what_a_room_makes_by_itself_is_no_speech(loud: int, then: int, end: float | None) -> None:
    """Noise 20 dB below the speaker goes on for ever; the speech has ended nevertheless."""
    pcm = b"".join(peak.to_bytes(2, "little") * 16000 for peak in (loud, then))
    assert spoke_at(pcm, AudioFormat(16000, 2, 1)) == (end and pytest.approx(end))


@pytest.mark.parametrize("speech", [0.06, 1.0])
def test_speech_was_before_the_pause_that_followed_it(spoken, speech: float) -> None:
    """A client that pauses after the last word, and goes on in silence, spoke before the pause."""
    level = Level(AudioFormat(16000, 2, 1))
    level.feed(spoken(0.0, speech), 100.0)
    level.feed(spoken(0.5), 101.0)
    assert level.spoke_at == pytest.approx(100.0, abs=0.021)
