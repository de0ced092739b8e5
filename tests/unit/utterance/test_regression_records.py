"""What was captured once is decided the same today."""

from pathlib import Path

import pytest

from tests.support.make_records import FOLDER, PLAYS, decide_anew, keep
from wyoming_flux.utterance.record import read
from wyoming_flux.utterance.replay import differences, outcome

RECORDS = sorted(FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_record_is_decided_as_it_was(path: Path) -> None:
    """A fault that was understood once stays so; a user's record becomes a test by copying it."""
    record = read(path.read_text("utf-8"))
    assert not differences(record)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_record_decided_anew_is_the_same_file(path: Path) -> None:
    """Reading, deciding and writing give every byte again; a changed decision is mended."""
    text = path.read_text("utf-8")
    assert decide_anew(text) == text
    assert decide_anew(text.replace('"missing":', '"missing":1')) == text


def test_a_play_of_today_gives_the_record(tmp_path: Path) -> None:
    """The records are what the simulator still plays: the same text, trigger and time."""
    assert {path.stem for path in RECORDS} >= set(PLAYS)
    kept = outcome(read((FOLDER / "dropped.jsonl").read_text("utf-8")))
    played = outcome(read(keep(PLAYS["dropped"], tmp_path).read_text("utf-8")))
    assert kept.answer is not None
    assert played.answer is not None
    assert (kept.answer.text, kept.at) == (played.answer.text, played.at)
