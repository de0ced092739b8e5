"""A record as a page: the times add up, what-if is what another run gives, nothing is fetched."""

import dataclasses
import html
import json
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.make_records import COMMAND, FOLDER, PLAYS, TWO, Play, keep
from wyoming_flux.look import Entry, index_page, look_at, record_page
from wyoming_flux.look.spent import spent
from wyoming_flux.look.story import outcome, story
from wyoming_flux.look.whatif import (
    ESTIMATE,
    EXACT,
    HOLDS,
    OPEN,
    SILENT,
    WhatIf,
    enough_hold,
    what_if,
)
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance.record import read

RECORDS = sorted(FOLDER.glob("*.jsonl"))


def turn_of(name: str, folder: Path = FOLDER):  # type: ignore[no-untyped-def]
    """Look at a record of ours."""
    return look_at(read((folder / f"{name}.jsonl").read_text("utf-8")))


def row(rows: list[WhatIf], setting: str, value: str) -> WhatIf:
    """Return the row of a setting."""
    (found,) = [one for one in rows if (one.setting, one.value) == (setting, value)]
    return found


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_parts_add_up_exactly(path: Path) -> None:
    """From the last word to the answer every tenth of a millisecond has one owner."""
    turn = look_at(read(path.read_text("utf-8")))
    parts = spent(turn)
    assert all(part.ticks > 0 for part in parts)
    if turn.after_word is None:
        assert not parts
    else:
        assert sum(part.ticks for part in parts) == round(turn.after_word * 10_000)


plays = st.builds(
    Play,
    faults=st.lists(
        st.builds(
            "{}:after={},connection={}".format,
            st.sampled_from(["drop", "stall"]),
            st.floats(0.1, 3.0).map(lambda value: round(value, 3)),
            st.integers(1, 2),
        ),
        max_size=2,
    ),
    fallback=st.booleans(),
    audio=st.sampled_from([COMMAND, TWO]),
    turn=st.builds(
        UtteranceSettings,
        hold=st.sampled_from([0, 250, 1000]),
        answer_on=st.sampled_from(["end-of-turn", "audio-stop"]),
    ),
    stop=st.just(True),
    chunk=st.sampled_from([0.01, 0.0637, 0.5, 7.0]),
)


TWICE = Play(
    faults=["drop:after=1.0,connection=1", "drop:after=2.0,connection=2"],
    audio=TWO,
    turn=UtteranceSettings(hold=0, answer_on="audio-stop"),
    stop=True,
    chunk=0.01,
)
"""Both replays begin at the first word: it was written down three times."""


@given(play=plays)
@example(play=TWICE)
@settings(max_examples=60)
def test_parts_add_up_whatever_happened(play: Play) -> None:
    """With any faults, settings and chunks no part is negative, none is left over, and no word."""
    with tempfile.TemporaryDirectory() as folder:
        turn = look_at(read(keep(play, Path(folder)).read_text("utf-8")))
    parts = spent(turn)
    assert all(part.ticks > 0 for part in parts)
    assert sum(part.ticks for part in parts) == round((turn.after_word or 0) * 10_000)
    assert [word.end for word in turn.words] == sorted(word.end for word in turn.words)
    assert record_page(turn)


def test_times_have_their_owners() -> None:
    """A hold is the setting's, a replay the network's, a late end the client's."""
    assert [part.whose for part in spent(turn_of("held"))] == ["Flux", "setting"]
    assert spent(turn_of("held"))[1].ms == pytest.approx(1000, abs=100)
    assert [part.name for part in spent(turn_of("dropped"))][-1] == "heard once more, and back"
    assert spent(turn_of("stopped"))[0].whose == "client"


def test_words_stand_where_they_were_said() -> None:
    """Each word of the answer has its place once, in order, replay or not."""
    for name in ("good", "held", "dropped", "stalled"):
        turn = turn_of(name)
        assert turn.answer is not None
        assert [word.text for word in turn.words] == turn.answer.text.split()
        ends = [word.end for word in turn.words]
        assert ends == sorted(ends)
        assert ends[-1] <= turn.audio


def test_a_capital_and_a_full_stop_are_no_new_word() -> None:
    """Without word times the last word is where its text came first, however it is written."""
    text = re.sub(r'"last_word_end":[0-9.]+,', "", (FOLDER / "good.jsonl").read_text("utf-8"))
    lower = look_at(read(text))
    head, end = text.split('"event":"EndOfTurn"')
    end = end.replace("turn on the kitchen light", "Turn on the kitchen light.")
    upper = look_at(read(f'{head}"event":"EndOfTurn"{end}'))
    assert lower.last_word == upper.last_word == (1.75, False)
    assert lower.after_word == upper.after_word


@pytest.mark.parametrize("hold", [0, 250, 500])
def test_what_if_is_what_a_second_run_gives(tmp_path: Path, hold: int) -> None:
    """A shorter hold over the record gives text, trigger and time of a run with that hold."""
    found = row(list(what_if(turn_of("held"))), "hold", f"{hold} ms")
    again = dataclasses.replace(PLAYS["held"], turn=UtteranceSettings(hold=hold))
    second = look_at(read(keep(again, tmp_path).read_text("utf-8")))
    assert found.certainty == EXACT
    assert found.answer is not None
    assert second.answer is not None
    assert (found.answer.text, found.answer.trigger) == (second.answer.text, second.answer.trigger)
    assert found.at == second.answered


def test_what_if_of_the_no_speech_limit(tmp_path: Path) -> None:
    """A shorter wait for words over a record gives the time of a run with it."""
    long = dataclasses.replace(PLAYS["nothing-said"], turn=UtteranceSettings(no_speech_timeout=3.5))
    first = look_at(read(keep(long, tmp_path).read_text("utf-8")))
    found = row(list(what_if(first)), "no-speech limit", "2 s")
    kept = turn_of("nothing-said")
    assert (found.certainty, found.at) == (EXACT, kept.answered)


@pytest.mark.parametrize("hold", HOLDS)
def test_what_if_of_the_answer_mode(tmp_path: Path, hold: int) -> None:
    """A dictation knows when an assistant would have been answered, with any hold."""
    play = dataclasses.replace(
        PLAYS["held"], turn=UtteranceSettings(answer_on="audio-stop"), stop=True
    )
    found = row(
        list(what_if(look_at(read(keep(play, tmp_path).read_text("utf-8"))))),
        "answer on end-of-turn, hold",
        f"{hold} ms",
    )
    live = dataclasses.replace(PLAYS["held"], turn=UtteranceSettings(hold=hold), stop=True)
    second = look_at(read(keep(live, tmp_path).read_text("utf-8")))
    assert found.certainty == EXACT
    assert found.answer is not None
    assert second.answer is not None
    assert (found.answer.text, found.at) == (second.answer.text, second.answered)


@pytest.mark.parametrize("name", ["good", "dropped", "stalled"])
@pytest.mark.parametrize("hold", [250, 500, 1000])
def test_what_a_longer_hold_costs(tmp_path: Path, name: str, hold: int) -> None:
    """It is within a quarter of a second of a run with it in which no more was said."""
    found = row(list(what_if(turn_of(name))), "hold", f"{hold} ms")
    again = dataclasses.replace(PLAYS[name], turn=UtteranceSettings(hold=hold))
    second = look_at(read(keep(again, tmp_path).read_text("utf-8")))
    assert found.certainty == SILENT
    assert found.answer is not None
    assert found.at is not None
    assert second.answer is not None
    assert second.answered is not None
    assert (found.answer.text, found.answer.trigger) == (second.answer.text, second.answer.trigger)
    assert abs(found.at - second.answered) <= 0.25


def test_the_hold_that_was_enough(tmp_path: Path) -> None:
    """The story names it, and a second run with it gives the same text, with less another."""
    assert enough_hold(turn_of("held")) == 600
    assert "; a hold of 0.6 s would have been enough." in " ".join(story(turn_of("held")))
    for hold, whole in ((500, False), (600, True)):
        again = dataclasses.replace(PLAYS["held"], turn=UtteranceSettings(hold=hold))
        second = look_at(read(keep(again, tmp_path).read_text("utf-8")))
        assert second.answer is not None
        kept = turn_of("held").answer
        assert kept is not None
        assert (second.answer.text == kept.text) is whole


@pytest.mark.parametrize(
    ("setting", "value"), [("no-speech limit", "15 s"), ("answer on", "audio-stop")]
)
def test_what_if_claims_nothing_that_it_cannot_know(setting: str, value: str) -> None:
    """What would have been said after the answer is not in the record."""
    kept = "good" if setting == "answer on" else "nothing-said"
    found = row(list(what_if(turn_of(kept))), setting, value)
    assert (found.certainty, found.answer) == (OPEN, None)


def test_a_lower_threshold_is_an_estimate(tmp_path: Path) -> None:
    """It is within a quarter of a second of a run with it, and marked so; a higher is not there."""
    rows = list(what_if(turn_of("dropped")))
    found = row(rows, "threshold", "0.5")
    assert found.certainty == ESTIMATE
    again = dataclasses.replace(PLAYS["dropped"], flux=FluxSettings(eot_threshold=0.5))
    second = look_at(read(keep(again, tmp_path).read_text("utf-8")))
    assert found.at is not None
    assert second.answered is not None
    assert abs(found.at - second.answered) <= 0.25
    assert {one.value for one in rows if one.setting == "threshold"} == {"0.5", "0.6"}


def test_stories_name_what_went_wrong() -> None:
    """Whoever reads the first lines knows what happened, and what may help."""
    told = {path.stem: " ".join(story(turn_of(path.stem))) for path in RECORDS}
    assert told["good"].startswith("Answered 0.40 s after the last word")
    assert "early guess had the final text 0.20 s before" in told["good"]
    assert "hold kept the sentence together" in told["held"]
    assert "Connection 1 broke" in told["dropped"]
    assert "heard the audio again" in told["dropped"]
    assert "stopped answering" in told["stalled"]
    assert "answered instead of" in told["fallback"]
    assert "used up" in told["quota"]
    assert outcome(turn_of("quota")) == "quota"
    assert "nothing was said" in told["nothing-said"]
    for name, text in told.items():
        assert "kitchen" not in text, f"the story of {name} quotes what was said"


def test_a_client_that_left_is_told() -> None:
    """A record without an answer has a page as well."""
    lines = (FOLDER / "good.jsonl").read_text("utf-8").splitlines()
    turn = look_at(read("\n".join(lines[: len(lines) // 2])))
    assert outcome(turn) == "client left"
    assert "left before" in record_page(turn)


def test_an_engine_without_partial_text_tells_no_last_word() -> None:
    """Where the text comes with the end alone, nobody knows how long after the last word."""
    lines = (FOLDER / "good.jsonl").read_text("utf-8").splitlines()
    said = [(number, json.loads(line)) for number, line in enumerate(lines) if "transcript" in line]
    for number, line in said:
        line["message"].pop("last_word_end", None)
        if line["message"]["event"] != "EndOfTurn":
            line["message"]["transcript"] = ""
        lines[number] = json.dumps(line)
    turn = look_at(read("\n".join(lines)))
    assert turn.after_word is None
    assert story(turn)[0] == "Answered because 127.0.0.1 said that the turn was over."


class Tags(HTMLParser):
    """Collects what a page would fetch, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fetched = [value for name, value in attrs if name in ("src", "href", "data")]
        self.fetched += [value or "" for value in fetched]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", sorted(PLAYS))
def test_pages_are_whole_and_fetch_nothing(tmp_path: Path, name: str) -> None:
    """A page works from a file: sound is in it, and there is no other address in it."""
    path = keep(dataclasses.replace(PLAYS[name], wav=True), tmp_path)
    turn = look_at(read(path.read_text("utf-8")))
    (wav,) = tmp_path.glob("*.wav")
    page = record_page(turn, wav.read_bytes())
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert all(one.startswith("data:audio/wav;base64,") for one in tags.fetched)
    assert "://" not in re.sub(r"data:[^\"]*", "", page).replace("http://www.w3.org", "")
    assert "default-src 'none'" in page
    if turn.audio:
        assert len(tags.fetched) == 1


def test_what_was_said_cannot_become_a_part_of_the_page() -> None:
    """A record may come from somebody else: its text is text."""
    evil = "</script><script>alert(1)</script>\"'<img src=x>"
    text = (FOLDER / "good.jsonl").read_text("utf-8")
    for old in ("turn on the kitchen light", "127.0.0.1", "0.1.0", "aggressive", "nabu"):
        text = text.replace(old, json.dumps(evil)[1:-1])
    turn = look_at(read(text))
    for page in (record_page(turn), index_page([Entry(turn, 'x"><b>.html')], [evil])):
        assert page.count("<script>") == 1
        assert "<img" not in page
        assert "<b>" not in page
        assert html.escape(evil) in page


def test_index_has_the_times_of_all(tmp_path: Path) -> None:
    """The index tells outcome, time, endpoint and text of each, and their distribution."""
    entries = [Entry(turn_of(path.stem), f"{path.stem}.html") for path in RECORDS]
    page = index_page(entries, ["broken.jsonl: this is no record"])
    Tags().feed(page)
    assert "Median 0.40 s" in page
    assert page.count("<tr>") == len(RECORDS) + 1
    assert "broken.jsonl" in page
    assert "1 fault on the way" in page


def test_nineteen_of_twenty_are_95_of_100() -> None:
    """One late answer of twenty is the longest, and not what nearly all are within."""
    entries = [Entry(turn_of("good"), "good.html")] * 19 + [Entry(turn_of("stalled"), "s.html")]
    page = index_page(entries)
    assert "95 of 100 within 0.40 s" in page
    assert "longest 0.40 s" not in page
