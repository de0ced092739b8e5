"""``Configure``: taken at once, all of it or nothing, and fatal where its shape is wrong."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from wyoming_flux.simulator import DEEPGRAM, ScriptedTurn, ScriptRecognizer, StreamParameters
from wyoming_flux.simulator.stream import SimulatedStream, UnparsableMessage

Spoken = Callable[..., bytes]


def make_stream(**parameters: Any) -> SimulatedStream:
    """A stream that hears something unfinished."""
    script = [ScriptedTurn.of("kitchen light", unfinished=True)]
    wanted = StreamParameters(sample_rate=16000, **parameters)
    return SimulatedStream(wanted, DEEPGRAM, ScriptRecognizer(script), request_id="request")


def test_configure_changes_the_running_turn(spoken: Spoken) -> None:
    """A shorter timeout applies at once, and all that is in force is echoed."""
    stream = make_stream()
    stream.receive_audio(spoken(0.0, 1.0, 0.7))
    answer = stream.configure({"type": "Configure", "thresholds": {"eot_timeout_ms": 700}})
    assert answer["type"] == "ConfigureSuccess"
    assert answer["thresholds"] == {"eot_threshold": 0.7, "eot_timeout_ms": 700}
    assert [one["event"] for one in stream.receive_audio(spoken(0.1))] == ["EndOfTurn"]


def test_configure_replaces_keyterms_and_keeps_what_is_left_out() -> None:
    """An empty list clears, nothing keeps."""
    stream = make_stream(keyterms=("a",), model="flux-general-multi")
    messages: list[tuple[dict[str, Any], list[str], list[str]]] = [
        ({"numerals": True}, ["a"], []),
        ({"keyterms": ["b", "c"], "language_hints": ["de"]}, ["b", "c"], ["de"]),
        ({"keyterms": "d"}, ["d"], ["de"]),
        ({"keyterms": [], "language_hints": None}, [], ["de"]),
    ]
    for message, keyterms, hints in messages:
        answer = stream.configure({"type": "Configure", **message})
        assert (answer["keyterms"], answer["language_hints"]) == (keyterms, hints)
        assert answer["numerals"] is True


@pytest.mark.parametrize(
    "message",
    [
        {"thresholds": {"eot_threshold": 0.4}},
        {"thresholds": {"eager_eot_threshold": 0.8}},
        {"thresholds": {"eot_timeout_ms": 499}},
        {"keyterms": ["x" * 101]},
        {"keyterms": ["x"] * 101},
        {"keyterms": [" "]},
        {"language_hints": ["en"]},
        {"thresholds": {"eot_threshold": 0.9}, "keyterms": [""]},
    ],
)
def test_a_refused_configure_changes_nothing(message: dict[str, Any]) -> None:
    """All or nothing, and the stream goes on."""
    stream = make_stream()
    before = stream.parameters
    answer = stream.configure({"type": "Configure", **message})
    assert answer["type"] == "ConfigureFailure"
    assert answer["code"]
    assert stream.parameters == before


@pytest.mark.parametrize(
    "message",
    [
        {"numerals": "true"},
        {"features": {"numerals": True}},
        {"thresholds": []},
        {"thresholds": {"eot_threshold": "0.7"}},
        {"thresholds": {"eot_timeout_ms": 700.5}},
        {"thresholds": {"eot_threshold": True}},
        {"thresholds": {"patience": 1}},
        {"keyterms": [1]},
        {"keyterms": {}},
    ],
)
def test_a_configure_of_the_wrong_shape_is_fatal(message: dict[str, Any]) -> None:
    """Wrong types are not refused but unreadable."""
    with pytest.raises(UnparsableMessage):
        make_stream().configure({"type": "Configure", **message})


def test_parameters_are_not_shared() -> None:
    """Configure on one stream leaves another alone."""
    parameters = StreamParameters(sample_rate=16000)
    one = SimulatedStream(parameters, DEEPGRAM, ScriptRecognizer(()), request_id="1")
    one.configure({"type": "Configure", "keyterms": ["x"]})
    assert parameters == dataclasses.replace(one.parameters, keyterms=())
