"""The simulator's real ear."""

import importlib.util
import random
import wave
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wyoming_flux.flux import Endpoint
from wyoming_flux.flux.probe import find, make_plan, probe, profile_of
from wyoming_flux.settings import FluxSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.local import LocalRecognizer

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("moonshine_voice") is None, reason="needs the extra local"
)

SAMPLES = Path(__file__).parents[3] / "samples"
LIGHT = "turn_on_the_living_room_light"
SPOKEN = (
    LIGHT,
    "close_the_garage_door",
    "set_the_bedroom_temperature_to_twenty_degrees",
    "open_the_blinds_in_the_bedroom",
    "play_some_music_in_the_kitchen",
)


def frames(name: str) -> tuple[int, list[bytes]]:
    """Sample rate and frames of 10 ms of a recording."""
    with wave.open(str(SAMPLES / f"{name}.wav")) as file:
        rate, size = file.getframerate(), file.getframerate() // 100
        return rate, [file.readframes(size) for _ in range(file.getnframes() // size)]


def heard(name: str) -> tuple[str, list[bool]]:
    """The text of a recording, and which of its frames are voiced."""
    rate, pieces = frames(name)
    recognizer = LocalRecognizer(rate)
    voiced = [recognizer.hear(piece) for piece in pieces]
    recognizer.finish()
    text = recognizer.text.lower().rstrip(".")
    recognizer.close()
    return text, voiced


@pytest.mark.parametrize("name", SPOKEN)
def test_samples(name: str) -> None:
    """Samples are heard to the letter; the voiced frames are one sentence with silence around."""
    text, voiced = heard(name)
    assert text == name.replace("_", " ")
    assert not any(voiced[:30])
    assert any(voiced)
    assert not any(voiced[-60:])


def test_text_stands_before_the_end_of_the_turn() -> None:
    """At 320 ms after the last voice, where the simulator ends a turn, the whole text is there."""
    rate, pieces = frames(LIGHT)
    recognizer = LocalRecognizer(rate)
    silent = 0
    for piece in pieces:
        silent = 0 if recognizer.hear(piece) else silent + 1
        if silent == 32 and recognizer.text:
            break
    assert recognizer.text == "Turn on the living room light."
    recognizer.end_turn()
    assert recognizer.text == ""
    recognizer.close()


def test_noise_is_not_voiced() -> None:
    """Loud noise is neither voiced nor text, so it cannot keep a turn from ending."""
    chance = random.Random(3)
    recognizer = LocalRecognizer(16000)
    for _ in range(300):
        frame = array("h", [int(chance.gauss(0, 4000)) for _ in range(160)]).tobytes()
        assert not recognizer.hear(frame)
    recognizer.finish()
    assert recognizer.text == ""
    recognizer.close()


def test_connections_at_once() -> None:
    """Several threads share one model, and none gets the text of another."""
    names = [SPOKEN[at % len(SPOKEN)] for at in range(8)]
    with ThreadPoolExecutor(4) as threads:
        texts = [text for text, _ in threads.map(heard, names)]
    assert texts == [name.replace("_", " ") for name in names]


async def test_the_probe_of_a_flux_with_this_ear() -> None:
    """Real speech, really heard: the profile's own rules come out, and every word is there."""
    names = ("first", "name with", "timeout", "control CloseStream", "control ForceEndTurn")
    records: list[dict[str, object]] = []
    async with Simulator(profile="deepgram", recognizer="local") as simulator:
        endpoint = Endpoint.from_url(simulator.url, route="deepgram", token="any")
        steps = [one for one in make_plan(FluxSettings()) if one.name in names]
        await probe(endpoint, steps, records.append)
    found = find(records)
    assert not found.oddities
    assert found.with_name == "Turn on the quillora lamp."
    assert found.timeout_honoured is True
    assert {name: one.kind for name, one in found.answers.items()} == {
        "CloseStream": "taken",
        "ForceEndTurn": "taken",
    }
    profile = profile_of(found)
    assert (profile["windows"], profile["window_lag"], profile["flush"]) == ("true", 0.0, True)
    # 320 ms are the profile's; what Silero calls speech ends some 80 ms after the last sound.
    assert 300 <= profile["end_of_turn_ms"] <= 500
