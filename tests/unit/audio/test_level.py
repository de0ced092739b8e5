"""When somebody spoke last."""

import pytest

from wyoming_flux.audio import AudioFormat, Level


def widened(pcm: bytes, width: int, channels: int) -> bytes:
    """The same 16-bit mono audio in another format."""
    samples = [pcm[at : at + 2] for at in range(0, len(pcm), 2)]
    if width == 1:
        return b"".join(bytes([sample[1] ^ 0x80]) * channels for sample in samples)
    return b"".join((bytes(width - 2) + sample) * channels for sample in samples)


def heard(pcm: bytes, source: AudioFormat, size: int, late: float) -> float | None:
    """Seconds since the last speech, `late` s after the end of audio that came in real time."""
    now = 0.0
    level = Level(source, lambda: now)
    for at in range(0, len(pcm), size):
        now = min(at + size, len(pcm)) / source.bytes_per_second
        level.feed(pcm[at : at + size])
    now += late
    since = level.since_speech_ms
    return None if since is None else since / 1000


@pytest.mark.parametrize("size", [1, 7, 320, 4096, 48000])
@pytest.mark.parametrize(
    "source",
    [AudioFormat(16000, 2, 1), AudioFormat(16000, 1, 1), AudioFormat(16000, 3, 2)],
    ids=lambda source: f"{8 * source.width}x{source.channels}",
)
def test_the_end_of_speech_is_found(spoken, source: AudioFormat, size: int) -> None:
    """In any format and however it is cut, the end is that of the last 20 ms with voice."""
    pcm = widened(spoken(0.3, 1.0, 0.7), source.width, source.channels)
    assert heard(pcm, source, size, late=0.5) == pytest.approx(1.2, abs=0.021)


def test_silence_has_no_end_of_speech(spoken) -> None:
    """Where nobody spoke there is nothing to count from."""
    assert heard(spoken(1.0), AudioFormat(16000, 2, 1), 320, late=0.0) is None


def test_what_a_room_makes_by_itself_is_no_speech(spoken) -> None:
    """Noise 26 dB below the speaker goes on for ever; the speech has ended nevertheless."""
    loud = (16000).to_bytes(2, "little") * 16000
    noise = (800).to_bytes(2, "little") * 16000
    assert heard(loud + noise, AudioFormat(16000, 2, 1), 320, late=0.0) == pytest.approx(1.0)
