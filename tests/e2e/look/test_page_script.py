"""The script of a page, run in a document without a browser (happy-dom, in Node)."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.make_records import PLAYS, keep
from tests.support.parts import ROOT, missing, node
from wyoming_flux.look.page import record_page
from wyoming_flux.look.picture import LEFT, RIGHT, WIDTH
from wyoming_flux.look.turn import Turn, look_at
from wyoming_flux.utterance.record import read

HERE = Path(__file__).parent
MODULES = ROOT / "tests/e2e/worker/runtime/node_modules"


class Shown:
    """A page, and what is done on it."""

    def __init__(self, turn: Turn, path: Path) -> None:
        self.turn = turn
        self.scale = (WIDTH - LEFT - RIGHT) / turn.audio
        self._path = path

    def act(self, *actions: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what is seen after each action."""
        if not (MODULES / "happy-dom").is_dir():
            missing("happy-dom")
        command = [node(20), HERE / "act.mjs", MODULES, self._path, json.dumps(actions)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def x(self, seconds: float) -> float:
        """Return where in the picture a second is."""
        return LEFT + seconds * self.scale


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The page of an utterance with its sound."""
    folder = tmp_path_factory.mktemp("page")
    record = keep(dataclasses.replace(PLAYS["good"], wav=True), folder)
    turn = look_at(read(record.read_text("utf-8")))
    page = folder / "page.html"
    page.write_text(record_page(turn, record.with_suffix(".wav").read_bytes()), "utf-8")
    return Shown(turn, page)


def key(name: str, **more: Any) -> dict[str, Any]:
    """Press a key."""
    return {"key": name, **more}


def test_keys(shown: Shown) -> None:
    """Space plays and pauses, arrows move by a quarter of a second, never before the beginning."""
    seen = shown.act(
        *map(
            key, (" ", " ", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "x")
        )
    )
    assert [one["playing"] for one in seen] == [True] + [False] * 7
    assert [one["at"] for one in seen] == [0, 0, 0.25, 0.5, 0.25, 0, 0, 0]
    assert [one["taken"] for one in seen] == [True] * 7 + [False]


def test_keys_of_others_are_left_alone(shown: Shown) -> None:
    """A shortcut of the browser, and a key on a button, do what they do without the script."""
    seen = shown.act(
        key(" ", ctrlKey=True),
        key("ArrowRight", metaKey=True),
        key("ArrowLeft", altKey=True),
        key(" ", on=".words button"),
        key(" ", on="summary"),
        key("ArrowRight", on="audio"),
    )
    assert not any(one["playing"] or one["taken"] or one["at"] for one in seen)


def test_a_word_is_played(shown: Shown) -> None:
    """A click on a word plays from where it was said."""
    (seen,) = shown.act({"click": ".words button:nth-child(3)"})
    assert seen["playing"]
    assert seen["at"] == pytest.approx(shown.turn.words[2].start, abs=0.001)


def test_a_click_on_the_picture_plays_from_there(shown: Shown) -> None:
    """The middle of the picture is its middle however wide it is shown; its margin is 0 s."""
    middle, margin = shown.act(
        {"click": "svg[data-seconds]", "x": 100 + 570 / 2}, {"click": "svg[data-seconds]", "x": 101}
    )
    assert middle["playing"]
    assert middle["at"] == pytest.approx((WIDTH / 2 - LEFT) / shown.scale, abs=0.01)
    assert margin["at"] == 0


def test_line_and_word_follow_the_player(shown: Shown) -> None:
    """The line stands where the player is, and the word that is said just then is marked."""
    words = shown.turn.words
    times = [(word.start + word.end) / 2 for word in words]
    seen = shown.act(*({"time": at} for at in [0.0, *times]))
    assert [one["now"] for one in seen] == [[], *([word.text] for word in words)]
    assert [one["head"] for one in seen] == pytest.approx(
        [shown.x(at) for at in [0.0, *times]], abs=0.2
    )


def test_a_page_without_sound_has_nothing_to_play(tmp_path: Path) -> None:
    """Of a record without its WAV there is no player, and keys scroll as on any page."""
    record = keep(PLAYS["good"], tmp_path)
    turn = look_at(read(record.read_text("utf-8")))
    page = tmp_path / "page.html"
    page.write_text(record_page(turn), "utf-8")
    seen = Shown(turn, page).act(key(" "), {"click": "svg[data-seconds]"})
    assert not any(one["taken"] or one["playing"] for one in seen)
