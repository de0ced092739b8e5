"""Flux's messages are read leniently, and nothing that comes in can raise."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.flux import (
    Connected,
    FluxFault,
    FluxWarning,
    Garbage,
    Other,
    TurnEvent,
    TurnInfo,
)
from wyoming_flux.flux.messages import parse

END = {
    "type": "TurnInfo",
    "request_id": "r",
    "sequence_id": 11,
    "event": "EndOfTurn",
    "turn_index": 2,
    "audio_window_start": 0.0,
    "audio_window_end": 2.4,
    "transcript": "Turn on the lights.",
    "words": [{"word": "Turn", "confidence": 0.9, "start": 0.3, "end": 0.5}],
    "end_of_turn_confidence": 0.82,
    "trigger": "model",
}


def test_deepgrams_full_message() -> None:
    """All that is used of a complete message is kept."""
    assert parse(json.dumps(END)) == TurnInfo(
        TurnEvent.END_OF_TURN, 2, 2.4, "Turn on the lights.", 0.3, "model", 0.5, 0.82
    )


def test_workers_ai_leaves_things_out() -> None:
    """Without type, trigger, words and times a message is still understood."""
    less = {"event": "Update", "turn_index": 0, "transcript": "Turn", "audio_window_end": 0.5}
    assert parse(json.dumps(less)) == TurnInfo(TurnEvent.UPDATE, 0, 0.5, "Turn")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('{"type":"Connected","request_id":"r","sequence_id":0}', Connected("r")),
        ('{"type":"Warning","code":"W","description":"d"}', FluxWarning("W", "d")),
        ('{"type":"Error","sequence_id":3,"code":"E"}', FluxFault("E")),
        ('{"type":"ConfigureSuccess","keyterms":[]}', Other("ConfigureSuccess")),
        (
            '{"event":"Novelty","turn_index":0,"transcript":"on","audio_window_end":1}',
            TurnInfo(TurnEvent.UPDATE, 0, 1.0, "on"),
        ),
        (
            '{"type":"TurnInfo","turn_index":0,"transcript":" \\ud83d on \\udd25"}',
            TurnInfo(TurnEvent.UPDATE, 0, None, "on"),
        ),
        ('{"type":"TurnInfo","event":"Update","turn_index":-1}', Garbage()),
        ('{"type":"TurnInfo","event":"Update","turn_index":true}', Garbage()),
        ('{"type":7}', Garbage()),
        ("[1]", Garbage()),
        ("<html>", Garbage()),
        ("[" * 100_000, Garbage()),
        (b"\x00\x01", Garbage()),
        (b'{"type":"Connected"}', Connected()),
        ('{"type":"Connected"}'.encode("utf-16"), Garbage()),
    ],
)
def test_other_frames(frame: str | bytes, message: object) -> None:
    """Each kind of message has its class; what is none is garbage, never an exception."""
    assert parse(frame) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*END, "code"]), json_values))
def test_any_fields(fields: dict[str, object]) -> None:
    """Whatever the fields hold, the result is sane: times finite, texts text."""
    message = parse(json.dumps({**END, **fields}))
    if isinstance(message, TurnInfo):
        for number in (
            message.audio_window_end,
            message.first_word_start,
            message.last_word_end,
            message.end_of_turn_confidence,
        ):
            assert number is None or 0 <= number < float("inf")
        message.transcript.encode()
        assert message.turn_index >= 0


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-0.1", "Infinity", "NaN", "true", '"2"'])
def test_what_is_no_time_counts_as_absent(number: str) -> None:
    """A window end that is no number of seconds is as good as none."""
    message = parse(json.dumps(END).replace("2.4", number))
    assert isinstance(message, TurnInfo)
    assert message.audio_window_end is None


@given(st.text() | st.binary())
def test_any_frame(frame: str | bytes) -> None:
    """No frame raises."""
    parse(frame)


def test_what_people_read_is_one_printable_line() -> None:
    """Codes and descriptions go into logs and answers: no control characters, bounded length."""
    fault = parse(
        '{"type": "Error", "code": "a\\nb", "description": "\\u001b[31m%s"}' % ("x" * 999)
    )
    assert isinstance(fault, FluxFault)
    assert fault.code == "a b"
    assert fault.description.isprintable()
    assert len(fault.description) <= 201
