"""Bytes of any kind become linear16 at the stream's rate."""

import io
import threading
import wave

import pytest

from wyoming_flux.audio import AudioFormat, Converter, Intake, PcmReader
from wyoming_flux.errors import InvalidAudio

MONO = AudioFormat(16000, 2, 1)
PCM = bytes(range(256)) * 40


def wav_of(pcm: bytes, source: AudioFormat) -> bytes:
    """A WAV file made by the standard library."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(source.channels)
        wav.setsampwidth(source.width)
        wav.setframerate(source.rate)
        wav.writeframes(pcm)
    return file.getvalue()


async def taken(intake: Intake, data: bytes, size: int) -> bytes:
    """All that comes out of bytes that come in pieces."""
    out = [await intake.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join(out) + await intake.finish()


@pytest.mark.parametrize("size", [1, 5, 12, 1000, 100_000])
@pytest.mark.parametrize("said", [MONO, AudioFormat(44100, 2, 2)], ids=["right", "wrong"])
async def test_the_header_wins(said: AudioFormat, size: int) -> None:
    """A WAV is what its header says, whatever was announced and however it is cut."""
    assert await taken(Intake(16000, said), wav_of(PCM, MONO), size) == PCM


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("pcm", [PCM, b"RIFF", b"RIFFRIFFRIFFRIFF", b"RI", b""])
async def test_bare_samples_are_as_announced(pcm: bytes, size: int) -> None:
    """What is no WAV is audio from its first byte on, even if it begins like one or is short."""
    assert await taken(Intake(16000, MONO), pcm, size) == pcm


@pytest.mark.parametrize("source", [AudioFormat(44100, 2, 2), AudioFormat(8000, 1, 1)])
@pytest.mark.parametrize("header", [True, False])
async def test_all_else_is_converted_away_from_the_loop(source: AudioFormat, header: bool) -> None:
    """The filter is designed once per stream, in a thread; the audio is the converter's."""
    threads = []

    async def run(function, *arguments):
        threads.append(threading.current_thread())
        return function(*arguments)

    data = wav_of(PCM, source) if header else PCM
    converter = Converter(source, 16000)
    expected = converter.convert(PCM) + converter.flush()
    assert await taken(Intake(16000, source, run=run), data, 1000) == expected
    assert len(threads) == 1
    assert await taken(Intake(16000, source), data, 1000) == expected


async def test_what_needs_no_conversion_needs_no_thread() -> None:
    """Audio as Flux takes it goes straight through."""

    async def run(*_: object) -> Converter:
        raise AssertionError

    assert await taken(Intake(16000, MONO, run=run), PCM, 640) == PCM


async def test_a_broken_wav_is_told() -> None:
    """A header without audio is no transcript of nothing."""
    with pytest.raises(InvalidAudio, match="cut off"):
        await taken(Intake(16000, MONO), wav_of(PCM, MONO)[:30], 7)


def test_only_a_wav_will_do() -> None:
    """Without a format for bare samples they are refused."""
    reader = PcmReader(None)
    with pytest.raises(InvalidAudio, match="This is not a WAV"):
        reader.feed(PCM)


def test_a_reader_tells_what_was_promised() -> None:
    """The length in the header, and when all of it was given; what follows is no audio."""
    reader = PcmReader(MONO)
    assert not reader.complete
    assert reader.feed(wav_of(PCM, MONO)[:-2]) == PCM[:-2]
    assert not reader.complete
    assert reader.feed(PCM[-2:] + b"LIST") == PCM[-2:]
    assert (reader.announced, reader.complete, reader.format) == (len(PCM), True, MONO)
