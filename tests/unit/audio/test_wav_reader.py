"""WAV from a stream: what real writers write, what is refused and how, and any bytes at all."""

import io
import itertools
import struct
import tracemalloc
import wave

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wyoming_flux.audio import AudioFormat
from wyoming_flux.audio.wav import WavReader, is_wav, name_of
from wyoming_flux.errors import InvalidAudio

PCM = bytes(range(256)) * 2
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def _chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2)


def _fmt(
    rate: int = 16000,
    bits: int = 16,
    channels: int = 1,
    tag: int = 1,
    extra: bytes = b"",
    align: int | None = None,
) -> bytes:
    align = channels * ((bits + 7) // 8) if align is None else align
    return struct.pack("<HHIIHH", tag, channels, rate, (rate * align) % 2**32, align, bits) + extra


def _extensible(tag: int, valid_bits: int) -> bytes:
    return struct.pack("<HHIH", 22, valid_bits, 4, tag) + GUID_TAIL


def _wav(*chunks: bytes, length: int | None = None) -> bytes:
    body = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4 if length is None else length) + b"WAVE" + body


def _read(data: bytes, size: int | None = None) -> tuple[AudioFormat | None, bytes]:
    reader = WavReader()
    step = size or max(1, len(data))
    audio = b"".join(reader.feed(data[at : at + step]) for at in range(0, len(data), step))
    reader.finish()
    return reader.format, audio


def _outcome(pieces: list[bytes]) -> tuple[AudioFormat | None, bytes, str]:
    reader = WavReader()
    audio = b""
    try:
        for piece in pieces:
            audio += reader.feed(piece)
        reader.finish()
    except InvalidAudio as error:
        return reader.format, audio, str(error)
    return reader.format, audio, ""


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_what_the_standard_library_writes_is_read(rate: int, width: int, channels: int) -> None:
    """Rate, width, channels and the audio itself, byte by byte and in one piece."""
    file = io.BytesIO()
    audio = PCM * 3 * channels
    with wave.open(file, "wb") as writer:
        writer.setframerate(rate)
        writer.setsampwidth(width)
        writer.setnchannels(channels)
        writer.writeframes(audio)
    expected = (AudioFormat(rate, width, channels), audio)
    assert _read(file.getvalue()) == expected
    assert _read(file.getvalue(), 1) == expected


@pytest.mark.parametrize(
    ("fmt", "expected"),
    [
        (_fmt(tag=0xFFFE, extra=_extensible(1, 16)), AudioFormat(16000, 2, 1)),
        (_fmt(48000, 32, 3, 0xFFFE, _extensible(1, 24)), AudioFormat(48000, 4, 3)),
        (_fmt(44100, 24, 2, 0xFFFE, _extensible(1, 24)), AudioFormat(44100, 3, 2)),
        (_fmt(extra=b"\0\0"), AudioFormat(16000, 2, 1)),
        (_fmt(bits=12), AudioFormat(16000, 2, 1)),
        (_fmt(bits=20), AudioFormat(16000, 3, 1)),
        (_fmt(extra=bytes(301)), AudioFormat(16000, 2, 1)),
    ],
    ids=["extensible", "24 in 32", "24 bit", "18 bytes", "12 bit", "20 bit", "long and odd"],
)
def test_variants_of_the_format_chunk(fmt: bytes, expected: AudioFormat) -> None:
    """The extensible format, a longer chunk, and odd widths that fill whole bytes."""
    data = _wav(_chunk(b"fmt ", fmt), _chunk(b"data", PCM))
    assert _read(data) == (expected, PCM)
    assert _read(data, 1) == (expected, PCM)


def test_chunks_around_the_audio_are_no_audio() -> None:
    """LIST, of odd length too, before the format and the audio; anything after the audio."""
    data = _wav(
        _chunk(b"JUNK", bytes(28)),
        _chunk(b"fmt ", _fmt()),
        _chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf5"),
        _chunk(b"fact", b"data"),
        _chunk(b"data", PCM),
        _chunk(b"LIST", b"INFO" + bytes(40)),
    )
    assert _read(data) == (AudioFormat(16000, 2, 1), PCM)
    assert _read(data, 3) == (AudioFormat(16000, 2, 1), PCM)


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000, len(PCM) + 100])
def test_audio_of_unknown_or_wrong_length_is_read_as_far_as_it_goes(length: int) -> None:
    """Pipes (arecord, ffmpeg, Home Assistant) and files that were cut off."""
    data = _wav(_chunk(b"fmt ", _fmt()), _chunk(b"data", PCM, length), length=0)
    assert _read(data, 5) == (AudioFormat(16000, 2, 1), PCM)


def test_announced_length_is_known_for_progress() -> None:
    """Bytes where the header says them, None where they are not known."""
    for length, announced in ((len(PCM), len(PCM)), (0, None), (0xFFFFFFFF, None)):
        reader = WavReader()
        header = _wav(_chunk(b"fmt ", _fmt()), _chunk(b"data", b"", length))
        assert reader.feed(header[:-1]) == b""
        assert (reader.format, reader.announced) == (None, None)
        assert reader.feed(header[-1:] + PCM) == PCM
        assert reader.announced == announced
        assert reader.given == len(PCM)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"hi", "not a WAV"),
        (b"turn on the kitchen light\n" * 10, "not a WAV"),
        (b"RIFF\0\0\0\0AVI LIST", "not a WAV"),
        (b"RIFFx", "ends before its audio begins"),
        (b"OggS" + bytes(60), "an Ogg file"),
        (b"fLaC" + bytes(60), "a FLAC file"),
        (b"ID3\x04" + bytes(60), "an MP3 file"),
        (b"RIFX" + bytes(60), "a big-endian WAV"),
        (b"RF64" + bytes(60), "an RF64 file"),
        (_wav(), "ends before its audio begins"),
        (_wav(_chunk(b"fmt ", _fmt())), "ends before its audio begins"),
        (_wav(_chunk(b"LIST", b"", 0xFFFFFFFF)) + bytes(100), "ends before its audio begins"),
        (_wav(_chunk(b"fmt ", _fmt()), _chunk(b"data", b"")), "not one sample"),
        (_wav(_chunk(b"fmt ", _fmt()), _chunk(b"data", b"x")), "not one sample"),
        (_wav(_chunk(b"data", PCM)), "does not say what format"),
        (_wav(_chunk(b"fmt ", b"\1\0"), _chunk(b"data", PCM)), "2 bytes; 16 are the least"),
        (_wav(_chunk(b"fmt ", _fmt(bits=32, tag=3))), "32 bit floating point"),
        (_wav(_chunk(b"fmt ", _fmt(bits=64, tag=3))), "64 bit floating point"),
        (
            _wav(_chunk(b"fmt ", _fmt(bits=32, tag=0xFFFE, extra=_extensible(3, 32)))),
            "32 bit floating point",
        ),
        (_wav(_chunk(b"fmt ", _fmt(tag=0xFFFE))), "extensible format"),
        (_wav(_chunk(b"fmt ", _fmt(tag=0xFFFE, extra=bytes(24)))), "extensible format"),
        (_wav(_chunk(b"fmt ", _fmt(bits=8, tag=6))), "8 bit A-law"),
        (_wav(_chunk(b"fmt ", _fmt(bits=8, tag=7))), "8 bit µ-law"),
        (_wav(_chunk(b"fmt ", _fmt(bits=4, tag=17))), "4 bit ADPCM"),
        (_wav(_chunk(b"fmt ", _fmt(bits=4, tag=2))), "4 bit ADPCM"),
        (_wav(_chunk(b"fmt ", _fmt(tag=0x31))), "GSM"),
        (_wav(_chunk(b"fmt ", _fmt(tag=0x50))), "MPEG"),
        (_wav(_chunk(b"fmt ", _fmt(tag=0x55))), "MP3"),
        (_wav(_chunk(b"fmt ", _fmt(tag=0xFF))), "AAC"),
        (_wav(_chunk(b"fmt ", _fmt(bits=16, tag=0x1234))), "0x1234-encoded"),
        (_wav(_chunk(b"fmt ", _fmt(rate=7000))), "7000 Hz"),
        (_wav(_chunk(b"fmt ", _fmt(bits=64))), "8 bytes"),
        (_wav(_chunk(b"fmt ", _fmt(bits=0))), "0 bytes"),
        (_wav(_chunk(b"fmt ", _fmt(channels=9))), "9 channels"),
        (_wav(_chunk(b"fmt ", _fmt(bits=24, align=4))), "contradicts itself"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, said: str) -> None:
    """One sentence a person can act on, the same however the bytes come."""
    _, audio, message = _outcome([data])
    assert said in message
    assert message.endswith(".")
    assert message.count("\n") == 0
    assert not audio.strip(b"x")
    assert _outcome([data[at : at + 1] for at in range(len(data))])[2] == message


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x1cftypM4A ", "an MP4 file"),
        *((bytes.fromhex(one), "an MP3 file") for one in ("fffb90", "fffa10", "fff3e0", "ffe318")),
        # No sync, another layer, a reserved version, bit rate or sample rate; too short.
        *((bytes.fromhex(one), None) for one in ("fefb90", "ff9b90", "fffd90", "ffeb90", "fffb")),
        *((bytes.fromhex(one), None) for one in ("fffb00", "fffbf0", "fffb9c", "fffb9d")),
    ],
)
def test_other_kinds_are_named(head: bytes, name: str | None) -> None:
    """An MP3 without a tag has nothing but the header of its first frame."""
    assert name_of(head) == name


def test_one_sample_is_enough() -> None:
    """The shortest audio there is."""
    assert _read(_wav(_chunk(b"fmt ", _fmt()), _chunk(b"data", b"xy"))) == (
        AudioFormat(16000, 2, 1),
        b"xy",
    )


ids = st.sampled_from([b"fmt ", b"data", b"LIST", b"fact", b"\0\0\0\0"])
bodies = st.binary(max_size=60) | st.builds(
    _fmt,
    rate=st.sampled_from([16000, 44100, 7000]),
    bits=st.sampled_from([8, 16, 24, 32]),
    channels=st.integers(0, 9),
    tag=st.sampled_from([1, 3, 0xFFFE]),
    extra=st.sampled_from([b"", _extensible(1, 16), _extensible(3, 32)]),
)
chunks = st.builds(_chunk, ids, bodies, st.none() | st.integers(0, 70) | st.just(0xFFFFFFFF))
almost_wav = st.lists(chunks, max_size=5).map(lambda parts: _wav(*parts))


@settings(deadline=None, max_examples=500)
@given(
    data=st.binary(max_size=200) | almost_wav | st.tuples(almost_wav, st.binary()).map(b"".join),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_any_bytes_in_any_split_have_one_outcome(data: bytes, cuts: list[int]) -> None:
    """Nothing but InvalidAudio is ever raised; format, audio and message do not depend on cuts."""
    whole = _outcome([data])
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise(ends)]
    assert _outcome(pieces) == whole
    said, audio, message = whole
    assert bool(message) or (said is not None and len(audio) >= said.frame_bytes)
    assert audio in data


def test_a_header_without_end_takes_no_memory() -> None:
    """What is skipped is not kept."""
    reader = WavReader()
    reader.feed(_wav(_chunk(b"LIST", b"", 0xFFFFFFF0)))
    tracemalloc.start()
    try:
        for _ in range(100):
            assert reader.feed(bytes(10_000)) == b""
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10_000


@given(st.binary(max_size=16) | st.binary(max_size=8).map(lambda tail: b"RIFFxxxxWAVE" + tail))
def test_is_wav_tells_as_early_as_it_can(head: bytes) -> None:
    """The same answer for a longer head, once there is one; always one at twelve bytes."""
    answers = [is_wav(head[:length]) for length in range(len(head) + 1)]
    first = next((answer for answer in answers if answer is not None), None)
    known = answers[answers.index(first) :] if first is not None else []
    assert all(answer is first for answer in known)
    if len(head) >= 12:
        assert first is (head[:4] == b"RIFF" and head[8:12] == b"WAVE")
