"""The turn machine: what Flux says depends on the audio alone, and in Flux's order."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.simulator import DEEPGRAM, WORKERS_AI, Profile, ScriptedTurn, ScriptRecognizer
from wyoming_flux.simulator.parameters import StreamParameters
from wyoming_flux.simulator.script import Part
from wyoming_flux.simulator.stream import SimulatedStream

Spoken = Callable[..., bytes]
LIGHT = "turn on the living room light"


def make_stream(
    *script: ScriptedTurn | str,
    profile: Profile = DEEPGRAM,
    sample_rate: int = 16000,
    **parameters: Any,
) -> SimulatedStream:
    """A stream that hears a script."""
    return SimulatedStream(
        StreamParameters(sample_rate=sample_rate, **parameters),
        profile,
        ScriptRecognizer(script or (LIGHT,)),
        request_id="request",
    )


def events(messages: Sequence[dict[str, Any]]) -> list[tuple[str, str, float]]:
    """Everything but Updates: event, text, time."""
    return [
        (one["event"], one["transcript"], one["audio_window_end"])
        for one in messages
        if one["event"] != "Update"
    ]


def test_a_turn_from_silence_to_end(spoken: Spoken) -> None:
    """Start with the first text, the words grow, the end comes 320 ms after the last voice."""
    said = make_stream().receive_audio(spoken(0.5, 2.0, 2.0))
    assert events(said) == [("StartOfTurn", "turn", 0.75), ("EndOfTurn", LIGHT, 2.82)]
    during = [one["transcript"] for one in said if 0.75 < one["audio_window_end"] < 2.82]
    assert during == [" ".join(LIGHT.split()[:n]) for n in (2, 3, 4, 5, 6, 6, 6, 6)]


def test_updates_come_every_quarter_second_also_in_silence() -> None:
    """Before any speech there are empty Updates."""
    said = make_stream().receive_audio(bytes(2 * 16000 * 2))
    assert [one["audio_window_end"] for one in said] == [0.25 * n for n in range(1, 9)]
    assert {(one["event"], one["transcript"], len(one["words"])) for one in said} == {
        ("Update", "", 0)
    }


def test_each_turn_has_its_index_and_window(spoken: Spoken) -> None:
    """The index counts up after EndOfTurn, and the window starts anew."""
    said = make_stream("one", "two").receive_audio(spoken(0.2, 0.5, 0.8, 0.5, 0.8))
    ends = [one for one in said if one["event"] == "EndOfTurn"]
    assert [(one["turn_index"], one["transcript"]) for one in ends] == [(0, "one"), (1, "two")]
    assert ends[1]["audio_window_start"] == ends[0]["audio_window_end"]
    assert said[-1]["turn_index"] == 2


def test_after_the_script_nothing_is_heard(spoken: Spoken) -> None:
    """Sound beyond the script is noise."""
    said = make_stream("one").receive_audio(spoken(0.2, 0.5, 0.8, 0.5, 0.8))
    assert len(events(said)) == 2
    assert said[-1]["transcript"] == ""


def test_a_click_starts_no_turn(spoken: Spoken) -> None:
    """40 ms of sound are no speech, and do not count as the first word of what follows."""
    said = make_stream("one").receive_audio(spoken(0.2, 0.04, 1.0, 0.5, 0.8))
    assert [event for event, _, _ in events(said)] == ["StartOfTurn", "EndOfTurn"]
    assert events(said)[0][2] > 1.24


def test_unfinished_text_ends_at_the_timeout(spoken: Spoken) -> None:
    """Where a text does not sound complete, eot_timeout_ms of silence end the turn."""
    stream = make_stream(ScriptedTurn.of("kitchen light", unfinished=True), eot_timeout_ms=1500)
    end = stream.receive_audio(spoken(0.2, 1.0, 3.0))
    (last,) = [one for one in end if one["event"] == "EndOfTurn"]
    assert last["audio_window_end"] == pytest.approx(1.2 + 1.5)
    assert last["trigger"] == "timeout"


@pytest.mark.parametrize(
    ("threshold", "trigger"), [(0.5, "model"), (0.6, "model"), (0.61, "timeout"), (1.0, "timeout")]
)
def test_the_threshold_decides(spoken: Spoken, threshold: float, trigger: str) -> None:
    """A turn ends early only where the confidence reaches eot_threshold."""
    turn = ScriptedTurn((Part("good night", confidence=0.6),))
    stream = make_stream(turn, eot_threshold=threshold, eot_timeout_ms=1000)
    said = stream.receive_audio(spoken(0.2, 1.0, 2.0))
    assert [one.get("trigger") for one in said if one["event"] == "EndOfTurn"] == [trigger]


def test_a_pause_in_a_turn_does_not_end_it(spoken: Spoken) -> None:
    """The parts of a turn are heard as one, the pause between them is not its end."""
    turn = ScriptedTurn.of("set the bedroom", "to twenty degrees")
    said = make_stream(turn).receive_audio(spoken(0.2, 0.75, 1.0, 0.75, 1.0))
    assert [event[:2] for event in events(said)] == [
        ("StartOfTurn", "set"),
        ("EndOfTurn", "set the bedroom to twenty degrees"),
    ]


def test_a_text_may_be_revised(spoken: Spoken) -> None:
    """What is believed while it is said is corrected at the end."""
    turn = ScriptedTurn((Part("close the garage", interim="close the garbage"),))
    said = make_stream(turn).receive_audio(spoken(0.0, 1.0, 0.5))
    texts = [one["transcript"] for one in said]
    assert "close the garbage" in texts
    assert texts[-1] == "" or texts[-1] == "close the garage"
    assert events(said)[-1][1] == "close the garage"


def test_eager_end_is_offered_and_taken_back(spoken: Spoken) -> None:
    """With eager_eot_threshold a pause offers the end; more speech takes it back."""
    turn = ScriptedTurn((Part("wait", confidence=0.45), Part("good night")))
    stream = make_stream(turn, eager_eot_threshold=0.4)
    said = stream.receive_audio(spoken(0.2, 0.5, 0.6, 0.5, 0.6))
    assert [event[0] for event in events(said)] == [
        "StartOfTurn",
        "EagerEndOfTurn",
        "TurnResumed",
        "EagerEndOfTurn",
        "EndOfTurn",
    ]
    assert events(said)[-1][1] == events(said)[-2][1] == "wait good night"


def test_no_eager_events_unless_asked_for(spoken: Spoken) -> None:
    """Without the threshold there are none; with one above the confidence neither."""
    extras: list[dict[str, Any]] = [{}, {"eager_eot_threshold": 0.6}]
    for extra in extras:
        turn = ScriptedTurn((Part("wait", confidence=0.55), Part("good night", confidence=0.55)))
        stream = make_stream(turn, eot_timeout_ms=500, **extra)
        said = stream.receive_audio(spoken(0.2, 0.5, 0.4, 0.5, 0.9))
        assert [event[0] for event in events(said)] == ["StartOfTurn", "EndOfTurn"]


def test_profiles_differ_in_fields(spoken: Spoken) -> None:
    """Trigger and word times are Deepgram's alone."""
    audio = spoken(0.5, 1.5, 0.5)
    for profile, has in ((DEEPGRAM, True), (WORKERS_AI, False)):
        said = make_stream(profile=profile).receive_audio(audio)
        (end,) = [one for one in said if one["event"] == "EndOfTurn"]
        assert ("trigger" in end) is has
        assert all(("start" in word) is has for word in end["words"])
        assert not any("trigger" in one for one in said if one is not end)


def test_word_times_lie_in_the_voice(spoken: Spoken) -> None:
    """Words follow one another within what was voiced."""
    said = make_stream().receive_audio(spoken(0.5, 1.5, 0.5))
    (end,) = [one for one in said if one["event"] == "EndOfTurn"]
    times = [time for word in end["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[0] == pytest.approx(0.5)
    assert times[-1] == pytest.approx(2.0)


def test_force_end_turn_takes_the_text_of_the_last_update(spoken: Spoken) -> None:
    """No extra decoding: what was said last stands, and the next turn begins."""
    stream = make_stream()
    said = stream.receive_audio(spoken(0.0, 1.1))
    end = stream.force_end_turn()
    assert end["transcript"] == said[-1]["transcript"] == "turn on the living"
    assert (end["event"], end["trigger"], end["turn_index"]) == ("EndOfTurn", "manual", 0)
    assert stream.receive_audio(spoken(0.3))[-1]["turn_index"] == 1


def test_force_end_turn_without_a_turn_is_a_warning(spoken: Spoken) -> None:
    """Before any text, and a second time, there is nothing to end."""
    stream = make_stream()
    assert stream.force_end_turn()["code"] == "FORCE_END_TURN_NO_ACTIVE_TURN"
    stream.receive_audio(spoken(0.0, 1.0))
    assert stream.force_end_turn()["type"] == "TurnInfo"
    assert stream.force_end_turn()["type"] == "Warning"


def test_force_end_turn_while_an_eager_end_is_pending(spoken: Spoken) -> None:
    """It goes straight to EndOfTurn, without TurnResumed."""
    stream = make_stream(eager_eot_threshold=0.5)
    said = stream.receive_audio(spoken(0.0, 1.5, 0.2))
    assert said[-1]["event"] == "EagerEndOfTurn"
    assert stream.force_end_turn()["event"] == "EndOfTurn"
    assert not [one for one in stream.receive_audio(spoken(1.0)) if one["event"] != "Update"]


@pytest.mark.parametrize("extra", [0, 2, 318])
def test_finish_covers_all_audio_and_ends_no_turn(spoken: Spoken, extra: int) -> None:
    """The last Update reaches to the last sample, also of half a frame."""
    stream = make_stream()
    audio = spoken(0.1, 1.13) + b"\x00\x20" * (extra // 2)
    stream.receive_audio(audio)
    said = stream.finish()
    assert [one["event"] for one in said] == ["Update"]
    assert said[-1]["audio_window_end"] == pytest.approx(len(audio) / 32000, abs=1e-4)
    assert said[-1]["transcript"]


def test_finish_may_start_a_turn_but_not_end_one(spoken: Spoken) -> None:
    """A text that shows only at the end starts its turn first."""
    stream = make_stream("yes")
    assert not stream.receive_audio(spoken(0.0, 0.08, 0.12))
    assert [(one["event"], one["transcript"]) for one in stream.finish()] == [
        ("StartOfTurn", "yes"),
        ("Update", "yes"),
    ]


def test_finish_has_nothing_to_add_where_all_was_said() -> None:
    """On the beat of the Updates there is none left."""
    stream = make_stream()
    stream.receive_audio(bytes(8000))
    assert stream.finish() == []


def test_an_error_has_no_request_id() -> None:
    """As Deepgram documents it, but it counts in the sequence."""
    stream = make_stream()
    stream.connected()
    assert stream.error("X", "y") == {
        "type": "Error",
        "sequence_id": 1,
        "code": "X",
        "description": "y",
    }


lengths = st.lists(st.integers(0, 150).map(lambda n: n / 100), max_size=10)
scripts = st.lists(
    st.builds(
        lambda parts, unfinished: ScriptedTurn.of(*parts, unfinished=unfinished),
        st.lists(st.sampled_from(["yes", "turn on", LIGHT]), min_size=1, max_size=3),
        st.booleans(),
    ),
    max_size=3,
)
thresholds = st.fixed_dictionaries(
    {"eot_timeout_ms": st.sampled_from([500, 800, 2000])},
    optional={"eager_eot_threshold": st.sampled_from([0.3, 0.45, 0.7])},
)


def rendered(lengths: Sequence[float], rate: int = 16000) -> bytes:
    """Silence and voice in turn."""
    kinds = (b"\x00\x00", b"\x00\x20")
    return b"".join(kinds[i % 2] * int(length * rate) for i, length in enumerate(lengths))


@given(
    lengths,
    scripts,
    thresholds,
    st.sampled_from([8000, 16000, 44100]),
    st.lists(st.integers(1, 20000).map(lambda n: 2 * n), min_size=1, max_size=8),
)
def test_any_split_gives_the_same_messages(
    lengths: list[float],
    script: list[ScriptedTurn],
    extra: dict[str, Any],
    rate: int,
    sizes: list[int],
) -> None:
    """Chunks are the network's business: the messages depend on the audio alone."""
    audio = rendered(lengths, rate)
    whole = make_stream(*script, sample_rate=rate, **extra)
    parts = make_stream(*script, sample_rate=rate, **extra)
    expected = [*whole.receive_audio(audio), *whole.finish()]
    said, at, i = [], 0, 0
    while at < len(audio):
        said += parts.receive_audio(audio[at : at + sizes[i % len(sizes)]])
        at += sizes[i % len(sizes)]
        i += 1
    assert [*said, *parts.finish()] == expected


@given(
    lengths,
    scripts,
    thresholds,
    st.lists(st.sampled_from(["force", "configure", "audio"]), max_size=12),
)
def test_the_order_of_events_is_flux_s(
    lengths: list[float], script: list[ScriptedTurn], extra: dict[str, Any], actions: list[str]
) -> None:
    """Whatever is said and done: ids count up, and each turn follows the state machine."""
    stream = make_stream(*script, **extra)
    audio = rendered(lengths)
    piece = -(-len(audio) // max(1, actions.count("audio"))) // 2 * 2 + 2
    said = [stream.connected()]
    for action in [*actions, "audio"]:
        if action == "force":
            said.append(stream.force_end_turn())
        elif action == "configure":
            said.append(stream.configure({"type": "Configure"}))
        else:
            said += stream.receive_audio(audio[:piece])
            audio = audio[piece:]
    said += [*stream.receive_audio(audio), *stream.finish()]
    assert [one["sequence_id"] for one in said] == list(range(len(said)))
    check_turns([one for one in said if one["type"] == "TurnInfo"], eager="eager" in str(extra))


def check_turns(said: list[dict[str, Any]], *, eager: bool) -> None:
    """Check the invariants of the protocol reference, section 3.2."""
    state, index, eager_text, heard = "initial", 0, None, 0.0
    for one in said:
        event, text = one["event"], one["transcript"]
        assert one["turn_index"] == index
        assert heard <= one["audio_window_end"] <= heard + 0.26
        assert one["audio_window_start"] <= one["audio_window_end"]
        heard = one["audio_window_end"]
        assert [word["word"] for word in one["words"]] == text.split()
        assert 0 <= one["end_of_turn_confidence"] <= 1
        assert ("trigger" in one) == (event == "EndOfTurn")
        match event:
            case "Update":
                assert state != "initial" or text == ""
            case "StartOfTurn":
                assert state == "initial"
                assert text
                state = "ongoing"
            case "EagerEndOfTurn":
                assert eager
                assert state == "ongoing"
                assert text
                state, eager_text = "awaiting", text
            case "TurnResumed":
                assert state == "awaiting"
                state = "ongoing"
            case "EndOfTurn":
                assert state != "initial"
                assert text
                assert state == "ongoing" or text == eager_text
                state, index = "initial", index + 1
            case _:
                pytest.fail(f"unknown event {event}")
