"""A short soak, and that its verdict would notice."""

import dataclasses
import tempfile
from pathlib import Path

import pytest
from wyoming.event import Event

from tests.bench.soak import soak
from tests.bench.soak_plan import Plan, plans
from tests.bench.soak_verdict import Verdict
from tests.unit.faults.matrix import TROUBLES, Client
from wyoming_flux.utterance.record import read
from wyoming_flux.utterance.replay import differences


def test_a_short_soak_is_good() -> None:
    """300 turns, 60 at once, with random faults and clients: nothing lost, mixed up or leaked."""
    verdict = soak(turns=300, at_once=60, seed=300, speed=1.0)
    assert verdict.good, str(verdict)
    assert verdict.turns == 300
    assert verdict.right + verdict.first_words + verdict.errors.total() + verdict.closed == 300


def test_what_went_wrong_leaves_its_records(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Turns that are told as late can be replayed, as many as are kept; good ones leave nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert soak(turns=8, at_once=8, seed=10, speed=1.0).records == ""
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("tests.bench.soak.LATE", -100.0)
    monkeypatch.setattr("tests.bench.soak_verdict.MOST_RECORDS", 3)
    verdict = soak(turns=8, at_once=8, seed=10, speed=1.0)
    assert len(verdict.wrong) > 3
    assert verdict.records in str(verdict)
    assert list(tmp_path.iterdir()) == [Path(verdict.records)]
    kept = {path.stem: read(path.read_text("utf-8")) for path in tmp_path.rglob("*.jsonl")}
    assert set(kept) == {f"soak{number}" for number in verdict.wrong[:3]}
    for name, record in kept.items():
        assert record.flux.keyterms == (name,)
        assert not differences(record)


def test_a_seed_gives_the_same_turns() -> None:
    """A run can be repeated by its seed."""
    assert list(plans(50, 7)) == list(plans(50, 7)) != list(plans(50, 8))


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (None, "lost"),
        (Event("transcript", {"text": "w0-1"}), "lost"),
        (Event("transcript", {"text": ""}), "lost"),
        (Event("error", {"code": "timeout", "text": "x"}), "lost"),
        (Event("transcript", {"text": "w0-1 w1-2"}), "mixed_up"),
        (Event("transcript", {"text": "w0-1 w0-1 w1-1"}), "mixed_up"),
    ],
)
def test_the_verdict_notices(answer: Event | None, field: str) -> None:
    """No answer, too few words, an error without a reason, foreign and repeated words are told."""
    plan = Plan(1, ("w0-1", "w1-1"), 0.1, 0.4, Client.STOPS_FIRST, None, (0.0,), 0.0)
    verdict = Verdict()
    verdict.judge(plan, answer)
    assert len(getattr(verdict, field)) == 1
    assert not verdict.good


def test_the_verdict_accepts_what_a_fault_explains() -> None:
    """Where all connections are lost, its error or the first words are right."""
    trouble = next(one for one in TROUBLES if one.name == "dropped always (1006)")
    plan = Plan(1, ("w0-1", "w1-1"), 0.1, 0.4, Client.STOPS_FIRST, trouble, (0.0,), 0.0)
    verdict = Verdict()
    verdict.judge(plan, Event("error", {"code": "connection-lost", "text": "x"}))
    verdict.judge(plan, Event("transcript", {"text": "w0-1"}))
    verdict.judge(
        dataclasses.replace(plan, trouble=None), Event("transcript", {"text": "w0-1 w1-1"})
    )
    assert verdict.good
    assert (verdict.errors.total(), verdict.first_words, verdict.right) == (1, 1, 1)
