"""Every fault, without a socket: what the client sees, and when."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.simulator import FluxSession, LocalFlux, Refusal, UpgradeRequest, faults
from wyoming_flux.simulator.faults import (
    BinaryFrames,
    ConnectedLate,
    ConnectLate,
    Dropped,
    ErrorMessage,
    Fault,
    Gibberish,
    Jitter,
    NoControls,
    Refuse,
    SlowReader,
    SpoiledEnd,
    Stall,
    Unflushed,
    Untyped,
    Window,
)

Talking = Callable[..., Any]
Spoken = Callable[..., bytes]
CLOSE = {"type": "CloseStream"}
FORCE = {"type": "ForceEndTurn"}


def test_faults_of_the_upgrade_strike_their_connection_only(target: Any) -> None:
    """The first is refused, late; the next are let in at once."""
    flux = LocalFlux(faults=[ConnectLate(seconds=3, connection=1), Refuse(connection=1)])
    answers = [flux.open(UpgradeRequest(target("workers-ai"))) for _ in range(3)]
    assert [type(answer) for _, answer in answers] == [Refusal, FluxSession, FluxSession]
    assert [upgrade.answer_delay for upgrade, _ in answers] == [3, 0, 0]


def test_connected_late(talk: Talking, spoken: Spoken) -> None:
    """Audio is taken meanwhile, nothing is lost, the order stays."""
    said = talk(spoken(1.0, 1.0), CLOSE, faults=[ConnectedLate(seconds=5)], ingest_rate=0)
    assert said.times[0] == 5
    assert [one["sequence_id"] for one in said.messages] == list(range(9))


def test_connected_only_after_audio(talk: Talking, spoken: Spoken) -> None:
    """Who waits for Connected before sending, waits for ever."""
    fault = ConnectedLate(after_audio=True)
    assert talk(faults=[fault], hang_up=60.0).frames == []
    said = talk(spoken(0.08), faults=[fault], hang_up=60.0)
    assert [one["type"] for one in said.messages] == ["Connected"]


def test_who_does_not_get_the_last_messages_gets_the_close(talk: Talking) -> None:
    """Half a minute is enough for what is late."""
    said = talk(CLOSE, faults=[ConnectedLate(seconds=60)])
    assert (said.frames, said.close_code, said.ended) == ([], 1005, 30.0)


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011])
def test_drop_after_audio(talk: Talking, spoken: Spoken, code: int) -> None:
    """All up to then arrives, then the close with its code."""
    said = talk(spoken(0.2, 3.0), CLOSE, faults=[Dropped(after=1.5, code=code)])
    assert said.close_code == code
    assert said.windows[-1] == 1.5
    assert said.connection.audio_bytes < 3.2 * 32000


@pytest.mark.parametrize(
    ("moment", "last"),
    [
        ("connected", "Connected"),
        ("start-of-turn", "StartOfTurn"),
        ("end-of-turn", "EndOfTurn"),
        ("force-end-turn", "Update"),
        ("close-stream", "Warning"),
    ],
)
def test_drop_at_a_moment(talk: Talking, spoken: Spoken, moment: Any, last: str) -> None:
    """Not before it has happened; control messages are not answered any more."""
    said = talk(
        spoken(0.2, 1.0, 0.6), FORCE, bytes(640), CLOSE, faults=[Dropped(on=moment, code=1011)]
    )
    assert said.close_code == 1011
    assert said.messages[-1].get("event", said.messages[-1]["type"]) == last


def test_a_moment_and_audio_are_both_needed(talk: Talking, spoken: Spoken) -> None:
    """The later of the two counts."""
    said = talk(spoken(0.2, 3.0), CLOSE, faults=[Dropped(on="start-of-turn", after=2.0)])
    assert said.windows[-1] == 2.0


def test_stall(talk: Talking, spoken: Spoken) -> None:
    """Audio is taken, nothing comes back, not even the close."""
    said = talk(spoken(0.2, 1.0, 1.0), CLOSE, faults=[Stall(after=1.0)], hang_up=60.0)
    assert said.windows[-1] <= 1.0
    assert said.connection.closed_by_client
    assert said.connection.audio_bytes == 2.2 * 32000


def test_a_stall_may_pass(talk: Talking, spoken: Spoken) -> None:
    """Messages of that time are lost, those after it come."""
    said = talk(spoken(0.2, 3.0), CLOSE, faults=[Stall(after=1.0, seconds=1.0)])
    assert not [time for time in said.windows if 1.04 < time < 2.0]
    assert (said.windows[-1], said.close_code) == (3.2, 1005)


def test_jitter_keeps_the_order(talk: Talking, spoken: Spoken) -> None:
    """Late by different times, the same for the same seed."""
    runs = [
        talk(spoken(0.2, 3.0), CLOSE, faults=[Jitter(seconds=0.4, seed=seed)]) for seed in (1, 1, 2)
    ]
    assert runs[0].times == runs[1].times != runs[2].times
    for said in runs:
        assert [one["sequence_id"] for one in said.messages] == list(range(len(said.messages)))


@pytest.mark.parametrize(
    ("fault", "events"),
    [
        (
            SpoiledEnd(kind="twice"),
            [("StartOfTurn", "yes"), ("EndOfTurn", "yes"), ("EndOfTurn", "yes")],
        ),
        (SpoiledEnd(kind="empty"), [("StartOfTurn", "yes"), ("EndOfTurn", "")]),
        (SpoiledEnd(kind="late"), [("StartOfTurn", "yes"), ("EndOfTurn", "yes")]),
    ],
)
@pytest.mark.parametrize("tail", [0.32, 1.0])
def test_ends_of_turns(
    talk: Talking, spoken: Spoken, fault: Fault, events: list[tuple[str, str]], tail: float
) -> None:
    """Twice, empty, or after a message of the next turn; at the latest before the close."""
    said = talk(spoken(0.2, 1.0, tail), CLOSE, faults=[fault], script=["yes"])
    assert said.events() == events
    kinds = [(one["event"], one["turn_index"]) for one in said.messages[1:]]
    before = kinds[kinds.index(("EndOfTurn", 0)) - 1]
    late = fault == SpoiledEnd(kind="late") and tail == 1.0
    assert before == (("Update", 1) if late else ("Update", 0))


def test_error_message(talk: Talking, spoken: Spoken) -> None:
    """A fatal error and a close without a code; the description may be missing."""
    said = talk(spoken(0.2, 3.0), faults=[ErrorMessage(after=1.0, description=None)])
    assert said.messages[-1].keys() == {"type", "sequence_id", "code"}
    assert said.close_code == 1005


@pytest.mark.parametrize("kind", ["text", "json", "binary", "empty"])
def test_garbage(talk: Talking, spoken: Spoken, kind: Any) -> None:
    """Something that is no message, once, and the stream goes on."""
    whole = talk(spoken(0.2, 1.0, 1.0), CLOSE).frames
    said = talk(spoken(0.2, 1.0, 1.0), CLOSE, faults=[Gibberish(after=1.0, kind=kind)])
    assert len(said.frames) == len(whole) + 1
    assert isinstance(said.frames[5], bytes) is (kind == "binary")
    assert (said.frames[5] == "") is (kind == "empty")


def test_slow_reader(talk: Talking, spoken: Spoken) -> None:
    """From then on it takes audio at its own rate."""
    said = talk(spoken(4.0), CLOSE, faults=[SlowReader(after=1.0, rate=0.5)])
    assert said.times[-1] == pytest.approx(1.0 / 1.25 + 3.0 / 0.5, abs=0.3)


def test_a_stuck_reader_is_given_up(talk: Talking, spoken: Spoken) -> None:
    """It takes nothing; after a minute, or when the client goes, the connection ends."""
    said = talk(spoken(4.0), faults=[SlowReader(after=1.0)])
    assert said.close_code == 1006
    assert 60 < said.ended < 61
    said = talk(spoken(2.0), faults=[SlowReader(after=1.0)], hang_up=5.0)
    assert said.connection.audio_bytes < 2 * 32000


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (Window(seconds=0.7), [0.0, 0.0, 0.05, 0.3]),
        (Window(kind="creeping"), [0.0125, 0.025, 0.0375, 0.05]),
        (Window(kind="missing"), []),
    ],
)
def test_windows(talk: Talking, fault: Fault, ends: list[float]) -> None:
    """Behind what was heard, at a twentieth of its speed, or absent; the record stays true."""
    said = talk(bytes(32000), CLOSE, faults=[fault])
    assert said.windows == pytest.approx(ends)
    assert [one["audio_window_end"] for one in said.connection.sent[1:]] == [0.25, 0.5, 0.75, 1.0]


def test_messages_without_type_and_in_binary_frames(talk: Talking) -> None:
    """As a Worker that relays frames by hand may make them."""
    assert all("type" not in one for one in talk(CLOSE, bytes(8000), faults=[Untyped()]).messages)
    said = talk(bytes(8000), CLOSE, faults=[BinaryFrames()])
    assert {type(frame) for frame in said.frames} == {bytes}
    assert json.loads(said.frames[0])["type"] == "Connected"


def test_an_unflushed_close(talk: Talking, spoken: Spoken) -> None:
    """What was not told yet is lost."""
    assert talk(spoken(0.4), CLOSE).windows == [0.25, 0.4]
    said = talk(spoken(0.4), CLOSE, faults=[Unflushed()])
    assert (said.windows, said.close_code) == ([0.25], 1005)


@pytest.mark.parametrize(
    ("answer", "code", "last"),
    [("error", 1005, "Error"), ("close", 1011, "Connected"), ("ignore", None, "TurnInfo")],
)
@pytest.mark.parametrize("control", [CLOSE, FORCE, {"type": "Configure"}])
def test_no_controls(talk: Talking, control: Any, answer: Any, code: int | None, last: str) -> None:
    """Any of them ends the stream, or does nothing."""
    said = talk(control, bytes(8000), faults=[NoControls(answer=answer)], hang_up=9.0)
    assert said.close_code == code
    assert said.messages[-1]["type"] == last


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("refuse", Refuse()),
        ("refuse:status=429,code=3036,connection=1", Refuse(status=429, code="3036", connection=1)),
        ('refuse:status=500,body={"a":1,"b":2}', Refuse(status=500, body='{"a":1,"b":2}')),
        ("connect-late:seconds=0.5", ConnectLate(seconds=0.5)),
        ("connected-late:after_audio=true", ConnectedLate(after_audio=True)),
        ("drop:after=1.5,code=1011,reason=gone", Dropped(after=1.5, code=1011, reason="gone")),
        ("drop:on=close-stream,code=1005", Dropped(on="close-stream", code=1005)),
        ("stall:after=1", Stall(after=1.0)),
        ("stall:seconds=2", Stall(seconds=2.0)),
        ("error:code=X,description=Y", ErrorMessage(code="X", description="Y")),
        ("garbage:kind=binary", Gibberish(kind="binary")),
        ("slow-reader:rate=0.5,after=2", SlowReader(rate=0.5, after=2.0)),
        ("jitter:seconds=0.1,seed=7", Jitter(seconds=0.1, seed=7)),
        ("end:kind=twice", SpoiledEnd(kind="twice")),
        ("end:connection=2", SpoiledEnd(connection=2)),
        ("end:kind=late", SpoiledEnd(kind="late")),
        ("window:seconds=0.3", Window(seconds=0.3)),
        ("window:kind=missing,connection=1", Window(kind="missing", connection=1)),
        ("untyped", Untyped()),
        ("binary", BinaryFrames()),
        ("unflushed", Unflushed()),
        ("no-controls:answer=close", NoControls(answer="close")),
    ],
)
def test_faults_as_a_command_line_writes_them(text: str, fault: Fault) -> None:
    """Every fault has its words."""
    assert faults.parse(text) == fault


@pytest.mark.parametrize(
    "text",
    [
        "explode",
        "",
        "drop:when=1",
        "drop:after",
        "drop:after=soon",
        "drop:after=-1",
        "drop:after=nan",
        "drop:code=ten",
        "drop:on=monday",
        "connected-late:after_audio=maybe",
        "garbage:kind=noise",
        "window:kind=broken",
    ],
)
def test_wrong_faults_are_explained(text: str) -> None:
    """One sentence says what there is."""
    with pytest.raises(ValueError, match=r"unknown fault|does not take|must be") as caught:
        faults.parse(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40) | st.from_regex(r"\A[a-z-]+:[a-z_]+=[^,]*(,[a-z_]+=[^,]*)*\Z"))
def test_any_text_is_a_fault_or_explained(text: str) -> None:
    """No other exception comes out."""
    try:
        fault = faults.parse(text)
    except ValueError as error:
        fault, said = None, str(error)
    else:
        said = str(fault)
    assert said
    assert fault is None or text.startswith(tuple(faults.KINDS))
