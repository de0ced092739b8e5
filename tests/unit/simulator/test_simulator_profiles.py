"""Profile files: a real endpoint's ways, as a file that the simulator plays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.simulator import DEEPGRAM, WORKERS_AI, LocalFlux, Profile, Refusal, UpgradeRequest
from wyoming_flux.simulator.faults import Refuse
from wyoming_flux.simulator.profiles import load, parse

Talking = Callable[..., Any]
Spoken = Callable[..., bytes]
CLOSE = {"type": "CloseStream"}


def profile(**different: Any) -> Profile:
    """A profile file of Workers AI, with what is different."""
    return parse(json.dumps({"base": "workers-ai", **different}))


def test_a_file_starts_from_its_base(tmp_path: Path) -> None:
    """What it does not name is as there."""
    path = tmp_path / "profile.json"
    path.write_text('{"base": "deepgram"}')
    assert load(path) == DEEPGRAM
    assert profile() == WORKERS_AI


def test_all_that_a_file_can_say() -> None:
    """Each switch, and one refusal."""
    text = """{"base": "deepgram", "controls": ["CloseStream"], "unknown_control": "close",
      "flush": false, "close_code": 1006, "typed": false, "binary": true, "trigger": false,
      "word_times": false, "windows": "creeping", "window_lag": 0.4, "end_of_turn_ms": 500,
      "eot_threshold": 0.8, "eot_timeout_ms": 3000, "eot_threshold_limit": 0.9,
      "ignored": ["eot_timeout_ms"], "refused": {"tag": {"status": 200, "body": "{}"}},
      "upgrade_delay": 2.5, "idle_timeout": 20}"""
    assert set(json.loads(text)) == {*Profile.__dataclass_fields__}
    assert parse(text) == Profile(
        base="deepgram",
        controls=("CloseStream",),
        unknown_control="close",
        flush=False,
        close_code=1006,
        typed=False,
        binary=True,
        trigger=False,
        word_times=False,
        windows="creeping",
        window_lag=0.4,
        end_of_turn_ms=500,
        eot_threshold=0.8,
        eot_timeout_ms=3000,
        eot_threshold_limit=0.9,
        ignored=("eot_timeout_ms",),
        refused={"tag": Refuse(status=200, body="{}")},
        upgrade_delay=2.5,
        idle_timeout=20,
    )
    assert parse('{"base": "workers-ai", "idle_timeout": null}').idle_timeout is None


def test_the_document_names_each_switch() -> None:
    """One row of its table for each, or one row for several of a kind."""
    text = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {one.strip(" `") for row in rows for one in row.split(",")}
    assert named == {*Profile.__dataclass_fields__}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"base": "mine"}',
        '{"base": ["deepgram"]}',
        '{"base": "deepgram", "colour": 1}',
        '{"base": "deepgram", "controls": "CloseStream"}',
        '{"base": "deepgram", "controls": ["KeepAlive"]}',
        '{"base": "deepgram", "flush": 1}',
        '{"base": "deepgram", "flush": "false"}',
        '{"base": "deepgram", "close_code": 1000.5}',
        '{"base": "deepgram", "window_lag": "0.4"}',
        '{"base": "deepgram", "window_lag": NaN}',
        '{"base": "deepgram", "window_lag": true}',
        '{"base": "deepgram", "eot_timeout_ms": null}',
        '{"base": "deepgram", "refused": {"tag": 400}}',
        '{"base": "deepgram", "refused": {"tag": {"connection": 1}}}',
        '{"base": "deepgram", "ignored": [1]}',
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str) -> None:
    """One sentence, with the name of the file."""
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^profile\.json: .+") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_refused_parameters() -> None:
    """The answer is the file's; without the parameter there is a stream."""
    flux = LocalFlux(profile=profile(refused={"eot_timeout_ms": {"status": 200, "body": "{}"}}))
    plain = "/?encoding=linear16&sample_rate=16000"
    _, refusal = flux.open(UpgradeRequest(plain + "&eot_timeout_ms=900"))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.body) == (200, b"{}")
    upgrade, _ = flux.open(UpgradeRequest(plain))
    assert upgrade.parameters is not None


def test_defaults_and_ignored_parameters(talk: Talking, spoken: Spoken) -> None:
    """A timeout of its own, whatever was asked for: unfinished text ends with it."""
    ways = profile(eot_timeout_ms=700, eot_threshold=0.96, eot_threshold_limit=1.0)
    mine = profile(
        eot_timeout_ms=700, eot_threshold=0.96, eot_threshold_limit=1.0, ignored=["eot_timeout_ms"]
    )
    audio = spoken(0.2, 1.0, 3.0)
    for ways_of, query, silence in (
        (ways, (), 0.7),
        (ways, (("eot_timeout_ms", "1500"),), 1.5),
        (mine, (("eot_timeout_ms", "1500"),), 0.7),
    ):
        said = talk(audio, CLOSE, profile=ways_of, query=query)
        (end,) = [one for one in said.messages if one.get("event") == "EndOfTurn"]
        assert end["audio_window_end"] == pytest.approx(1.2 + silence)


def test_delay_and_end_of_turn(talk: Talking, spoken: Spoken) -> None:
    """Times of the file."""
    ways = profile(upgrade_delay=3.0, end_of_turn_ms=500, close_code=1000)
    said = talk(spoken(0.2, 1.0, 1.0), CLOSE, profile=ways)
    (end,) = [one for one in said.messages if one.get("event") == "EndOfTurn"]
    assert end["audio_window_end"] == pytest.approx(1.7)
    assert (said.connection.answer_delay, said.close_code) == (3.0, 1000)
