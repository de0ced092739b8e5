"""Every fault, in virtual time: what the client sees, and when."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.simulator import Accepted, Refusal, faults
from wyoming_flux.simulator.faults import (
    ConnectedLate,
    ConnectLate,
    Drop,
    DuplicateEndOfTurn,
    EmptyEndOfTurn,
    ErrorMessage,
    Fault,
    Garbage,
    Jitter,
    LateEndOfTurn,
    Refuse,
    SlowReader,
    Stall,
)

Dialogue = Callable[..., Any]
Spoken = Callable[..., bytes]
CLOSE = {"type": "CloseStream"}
FORCE = {"type": "ForceEndTurn"}


def test_refuse_strikes_its_connection_only(run_virtual: Callable[..., Any], target: Any) -> None:
    """The first is refused, the next let in."""
    from wyoming_flux.simulator import Request, Service

    async def main() -> list[type]:
        flux = Service(faults=[Refuse(status=503, connection=1)])
        return [type((await flux.open(Request(target("workers-ai"))))[1]) for _ in range(3)]

    assert run_virtual(main) == [Refusal, Accepted, Accepted]


def test_connect_late(run_virtual: Callable[..., Any], target: Any) -> None:
    """The upgrade is answered after its delay, also when it is refused."""
    import asyncio

    from wyoming_flux.simulator import Request, Service

    async def main() -> float:
        flux = Service(faults=[ConnectLate(seconds=3), Refuse(status=429)])
        _, answer = await flux.open(Request(target("workers-ai")))
        assert isinstance(answer, Refusal)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 3


def test_connected_late(dialogue: Dialogue, spoken: Spoken) -> None:
    """Audio is taken meanwhile, nothing is lost, the order stays."""
    talk = dialogue(spoken(1.0, 1.0), CLOSE, faults=[ConnectedLate(seconds=5)], ingest_rate=0)
    assert talk.times[0] == 5
    assert [one["sequence_id"] for one in talk.messages] == list(range(9))


def test_connected_only_after_audio(dialogue: Dialogue, spoken: Spoken) -> None:
    """Who waits for Connected before sending, waits for ever."""
    fault = ConnectedLate(after_audio=True)
    assert dialogue(faults=[fault], hang_up=60.0).frames == []
    talk = dialogue(spoken(0.08), faults=[fault], hang_up=60.0)
    assert [one["type"] for one in talk.messages] == ["Connected"]


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011])
def test_drop_after_audio(dialogue: Dialogue, spoken: Spoken, code: int) -> None:
    """All up to then arrives, then the close with its code."""
    talk = dialogue(spoken(0.2, 3.0), CLOSE, faults=[Drop(after=1.5, code=code)])
    assert talk.close_code == code
    assert talk.messages[-1]["audio_window_end"] == 1.5
    assert talk.connection.audio_bytes < 3.2 * 32000


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
def test_drop_at_a_moment(dialogue: Dialogue, spoken: Spoken, moment: Any, last: str) -> None:
    """Not before it has happened; control messages are not answered any more."""
    talk = dialogue(
        spoken(0.2, 1.0, 0.6), FORCE, bytes(640), CLOSE, faults=[Drop(on=moment, code=1011)]
    )
    assert talk.close_code == 1011
    assert talk.messages[-1].get("event", talk.messages[-1]["type"]) == last


def test_a_moment_and_audio_are_both_needed(dialogue: Dialogue, spoken: Spoken) -> None:
    """The later of the two counts."""
    talk = dialogue(spoken(0.2, 3.0), CLOSE, faults=[Drop(on="start-of-turn", after=2.0)])
    assert talk.messages[-1]["audio_window_end"] == 2.0


def test_stall(dialogue: Dialogue, spoken: Spoken) -> None:
    """Audio is taken, nothing comes back, not even the close."""
    talk = dialogue(spoken(0.2, 1.0, 1.0), CLOSE, faults=[Stall(after=1.0)], hang_up=60.0)
    assert talk.messages[-1]["audio_window_end"] <= 1.0
    assert talk.connection.closed_by_client
    assert talk.connection.audio_bytes == 2.2 * 32000


def test_a_stall_may_pass(dialogue: Dialogue, spoken: Spoken) -> None:
    """Messages of that time are lost, those after it come."""
    talk = dialogue(spoken(0.2, 3.0), CLOSE, faults=[Stall(after=1.0, seconds=1.0)])
    times = [one["audio_window_end"] for one in talk.messages[1:]]
    assert not [time for time in times if 1.04 < time < 2.0]
    assert times[-1] == 3.2
    assert talk.close_code == 1005


def test_jitter_keeps_the_order(dialogue: Dialogue, spoken: Spoken) -> None:
    """Late by different times, the same for the same seed."""
    runs = [
        dialogue(spoken(0.2, 3.0), CLOSE, faults=[Jitter(seconds=0.4, seed=seed)])
        for seed in (1, 1, 2)
    ]
    assert runs[0].times == runs[1].times != runs[2].times
    for talk in runs:
        assert [one["sequence_id"] for one in talk.messages] == list(range(len(talk.messages)))


def test_duplicate_end_of_turn(dialogue: Dialogue, spoken: Spoken) -> None:
    """The same message, twice."""
    talk = dialogue(spoken(0.2, 1.0, 1.0), CLOSE, faults=[DuplicateEndOfTurn()], script=["yes"])
    assert talk.events() == [("StartOfTurn", "yes"), ("EndOfTurn", "yes"), ("EndOfTurn", "yes")]


def test_empty_end_of_turn(dialogue: Dialogue, spoken: Spoken) -> None:
    """The text was in the Updates alone."""
    talk = dialogue(spoken(0.2, 1.0, 1.0), CLOSE, faults=[EmptyEndOfTurn()], script=["yes"])
    assert talk.events() == [("StartOfTurn", "yes"), ("EndOfTurn", "")]
    (end,) = [one for one in talk.messages if one.get("event") == "EndOfTurn"]
    assert end["words"] == []


def test_late_end_of_turn(dialogue: Dialogue, spoken: Spoken) -> None:
    """A message of the next turn comes first; at the latest it comes before the close."""
    talk = dialogue(spoken(0.2, 1.0, 1.0), CLOSE, faults=[LateEndOfTurn()], script=["yes"])
    kinds = [(one["event"], one["turn_index"]) for one in talk.messages[1:]]
    at = kinds.index(("EndOfTurn", 0))
    assert kinds[at - 1] == ("Update", 1)
    talk = dialogue(spoken(0.2, 1.0, 0.32), CLOSE, faults=[LateEndOfTurn()], script=["yes"])
    assert talk.messages[-1]["event"] == "EndOfTurn"


def test_error_message(dialogue: Dialogue, spoken: Spoken) -> None:
    """A fatal error and a close without a code; the description may be missing."""
    talk = dialogue(spoken(0.2, 3.0), faults=[ErrorMessage(after=1.0, description=None)])
    assert talk.messages[-1].keys() == {"type", "sequence_id", "code"}
    assert talk.close_code == 1005


@pytest.mark.parametrize("kind", ["text", "json", "binary"])
def test_garbage(dialogue: Dialogue, spoken: Spoken, kind: Any) -> None:
    """Something that is no message, once, and the stream goes on."""
    whole = dialogue(spoken(0.2, 1.0, 1.0), CLOSE).frames
    talk = dialogue(spoken(0.2, 1.0, 1.0), CLOSE, faults=[Garbage(after=1.0, kind=kind)])
    assert len(talk.frames) == len(whole) + 1
    assert isinstance(talk.frames[5], bytes) is (kind == "binary")


def test_slow_reader(dialogue: Dialogue, spoken: Spoken) -> None:
    """From then on it takes audio at its own rate."""
    talk = dialogue(spoken(4.0), CLOSE, faults=[SlowReader(after=1.0, rate=0.5)], limit=1000)
    assert talk.times[-1] == pytest.approx(1.0 / 1.25 + 3.0 / 0.5, abs=0.3)


def test_a_stuck_reader_is_given_up(dialogue: Dialogue, spoken: Spoken) -> None:
    """It takes nothing; after a minute, or when the client goes, the connection ends."""
    talk = dialogue(spoken(4.0), faults=[SlowReader(after=1.0)])
    assert talk.close_code == 1006
    talk = dialogue(spoken(2.0), faults=[SlowReader(after=1.0)], limit=1000, hang_up=5.0)
    assert talk.connection.audio_bytes < 2 * 32000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("refuse", Refuse()),
        ("refuse:status=429,code=3036,connection=1", Refuse(status=429, code="3036", connection=1)),
        ('refuse:status=500,body={"a":1,"b":2}', Refuse(status=500, body='{"a":1,"b":2}')),
        ("connect-late:seconds=0.5", ConnectLate(seconds=0.5)),
        ("connected-late:after_audio=true", ConnectedLate(after_audio=True)),
        ("drop:after=1.5,code=1011,reason=gone", Drop(after=1.5, code=1011, reason="gone")),
        ("drop:on=close-stream,code=1005", Drop(on="close-stream", code=1005)),
        ("stall:after=1", Stall(after=1.0)),
        ("stall:seconds=2", Stall(seconds=2.0)),
        ("error:code=X,description=Y", ErrorMessage(code="X", description="Y")),
        ("garbage:kind=binary", Garbage(kind="binary")),
        ("slow-reader:rate=0.5,after=2", SlowReader(rate=0.5, after=2.0)),
        ("jitter:seconds=0.1,seed=7", Jitter(seconds=0.1, seed=7)),
        ("duplicate-end", DuplicateEndOfTurn()),
        ("empty-end:connection=2", EmptyEndOfTurn(connection=2)),
        ("late-end", LateEndOfTurn()),
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
