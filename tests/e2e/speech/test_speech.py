"""Real speech through the whole path: a satellite, our server, Flux's wire, the ear."""

import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.simulator.faults import Dropped

if TYPE_CHECKING:
    from tests.e2e.speech.conftest import FluxWithEars, Program

LIGHT = "Turn on the living room light."
PACES = {"real-time": (), "fast": ("--fast",)}

SAMPLES = (
    "turn_on_the_living_room_light",
    "turn_on_the_living_room_light_44k_stereo",
    "turn_on_the_living_room_light_8k",
    "close_the_garage_door",
    "set_the_bedroom_temperature_to_twenty_degrees",
    "open_the_blinds_in_the_bedroom",
    "play_some_music_in_the_kitchen",
)


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("name", SAMPLES)
async def test_samples_are_understood(
    name: str, pace: str, program: "Program", flux_with_ears: "FluxWithEars", samples: Path
) -> None:
    """Each sample gives its text, whatever its format, from a microphone and from a file."""
    flux = await flux_with_ears()
    uri = await program.serve(flux)
    answer = await program.transcribe(samples / f"{name}.wav", "--via", uri, *PACES[pace])
    said = (samples / f"{name}.txt").read_text().strip()
    assert answer["text"].lower().rstrip(".") == said
    if pace == "real-time":
        assert answer["trigger"] == "end-of-turn"
        # The simulator waits 320 ms; a loaded machine takes its time for the recognition.
        assert 250 < answer["after_speech_ms"] < 3000
    else:
        assert answer["trigger"] == "audio-stop"
        assert answer["after_speech_ms"] is None


@pytest.mark.parametrize("rate", [8000, 44100])
async def test_both_sides_convert_alike(
    rate: int, program: "Program", flux_with_ears: "FluxWithEars", samples: Path
) -> None:
    """A file gives the same words directly, and through a server whose stream has its rate."""
    suffix = {8000: "_8k", 44100: "_44k_stereo"}[rate]
    file = samples / f"turn_on_the_living_room_light{suffix}.wav"
    flux = await flux_with_ears(ingest_rate=0)
    direct = await program.transcribe(file, "--worker-url", flux.url, "--route", "workers-ai")
    uri = await program.serve(flux, "--sample-rate", str(rate))
    served = await program.transcribe(file, "--via", uri, "--fast")
    assert direct["text"] == served["text"] == LIGHT


async def test_24_bit_with_three_channels(
    program: "Program", flux_with_ears: "FluxWithEars", samples: Path, tmp_path: Path
) -> None:
    """A sound card's own format gives the same words."""
    with wave.open(str(samples / "turn_on_the_living_room_light.wav")) as sample:
        pcm = sample.readframes(sample.getnframes())
    converter = Converter(AudioFormat(16000, 2, 1), 48000)
    pcm = converter.convert(pcm) + converter.flush()
    file = tmp_path / "wide.wav"
    with wave.open(str(file), "wb") as wide:
        wide.setnchannels(3)
        wide.setsampwidth(3)
        wide.setframerate(48000)
        wide.writeframes(b"".join((b"\0" + pcm[i : i + 2]) * 3 for i in range(0, len(pcm), 2)))
    uri = await program.serve(await flux_with_ears(ingest_rate=0))
    answer = await program.transcribe(file, "--via", uri, "--fast")
    assert answer["text"] == LIGHT


@pytest.mark.parametrize("after", [0.4, 1.2, 2.0, 2.4])
async def test_a_dropped_connection_loses_no_word(
    after: float, program: "Program", flux_with_ears: "FluxWithEars", samples: Path
) -> None:
    """A connection that breaks in the middle of speech gives the transcript of an unbroken one."""
    flux = await flux_with_ears(faults=[Dropped(after=after, connection=1)])
    uri = await program.serve(flux)
    answer = await program.transcribe(samples / "turn_on_the_living_room_light.wav", "--via", uri)
    assert answer["text"] == LIGHT
    assert len(flux.connections) == 2
