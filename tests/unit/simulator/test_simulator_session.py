"""One connection without I/O: control messages, closes, pace and idleness."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.coded import CodedRecognizer, speak
from wyoming_flux.simulator import Close, FluxSession, LocalFlux, Refusal, UpgradeRequest
from wyoming_flux.simulator.faults import Jitter, SpoiledEnd

Talking = Callable[..., Any]
Spoken = Callable[..., bytes]
CLOSE = {"type": "CloseStream"}
FORCE = {"type": "ForceEndTurn"}
PLAIN = UpgradeRequest("/?encoding=linear16&sample_rate=16000")


def opened(**flux: Any) -> FluxSession:
    """A session that has begun."""
    _, session = LocalFlux(**flux).open(PLAIN)
    assert isinstance(session, FluxSession)
    session.start(0.0)
    return session


@pytest.mark.parametrize("profile", ["deepgram", "workers-ai"])
def test_close_stream_flushes_and_ends_no_turn(talk: Talking, spoken: Spoken, profile: str) -> None:
    """Updates up to the last sample, then a close frame without a code."""
    audio = spoken(0.2, 1.03)
    said = talk(audio, CLOSE, profile=profile)
    assert said.close_code == 1005
    assert said.messages[0]["type"] == "Connected"
    assert said.windows[-1] == pytest.approx(1.23)
    assert said.messages[-1]["event"] == "Update"
    assert "EndOfTurn" not in dict(said.events())
    assert (said.connection.audio_bytes, bytes(said.connection.audio)) == (len(audio), audio)
    assert said.connection.controls == [CLOSE]
    assert (said.connection.close_code, said.connection.mistakes) == (1005, [])


def test_sequence_ids_count_over_all_messages(talk: Talking, spoken: Spoken) -> None:
    """Connected is 0; every message of whatever type has the next."""
    said = talk(FORCE, spoken(0.2, 1.0), {"type": "Configure"}, FORCE, CLOSE)
    assert [one["sequence_id"] for one in said.messages] == list(range(len(said.messages)))
    assert {one["request_id"] for one in said.messages} == {said.connection.request_id}
    kinds = [one["type"] for one in said.messages if one["type"] != "TurnInfo"]
    assert kinds == ["Connected", "Warning", "ConfigureSuccess"]


def test_force_end_turn_then_close(talk: Talking, spoken: Spoken) -> None:
    """The end of the turn comes first, then the close."""
    said = talk(spoken(0.2, 1.0), FORCE, CLOSE)
    assert (said.messages[-1]["event"], said.messages[-1]["trigger"]) == ("EndOfTurn", "manual")
    assert said.close_code == 1005


@pytest.mark.parametrize("profile", ["deepgram", "workers-ai"])
@pytest.mark.parametrize(
    "text",
    [
        '{"type":"KeepAlive"}',
        '{"type":"Finalize"}',
        '{"type":"CloseStream","now":true}',
        '{"type":"Configure","thresholds":7}',
        '{"type":7}',
        '{"type":["CloseStream"]}',
        '{"kind":"CloseStream"}',
        "[]",
        "null",
        "[object Blob]",
        "",
    ],
)
def test_an_unknown_text_is_fatal(talk: Talking, spoken: Spoken, profile: str, text: str) -> None:
    """An Error that says so, and a close without a code; the profile does not matter."""
    said = talk(spoken(0.5), text, spoken(0.5), profile=profile)
    assert said.messages[-1]["code"] == "UNPARSABLE_CLIENT_MESSAGE"
    assert said.messages[-1]["type"] == "Error"
    assert said.close_code == 1005
    assert len(said.connection.mistakes) == 1


def test_workers_ai_does_not_know_force_end_turn(talk: Talking, spoken: Spoken) -> None:
    """Announced for Deepgram's own hosting only; Configure is known."""
    said = talk(spoken(0.2, 1.0), FORCE, profile="workers-ai")
    assert said.messages[-1]["code"] == "UNPARSABLE_CLIENT_MESSAGE"
    answer = talk({"type": "Configure"}, CLOSE, profile="workers-ai").messages[-1]
    assert answer["type"] == "ConfigureSuccess"


@pytest.mark.parametrize(
    ("frame", "code", "mistake"),
    [
        (b"", 1005, "sent an empty binary frame"),
        (bytes(2559), 1008, "sent half a sample of audio"),
    ],
)
def test_frames_that_are_fatal(talk: Talking, frame: bytes, code: int, mistake: str) -> None:
    """The end-of-stream marker of the older API; what would shift all samples after it."""
    said = talk(frame, bytes(2560))
    assert [one["type"] for one in said.messages] == ["Connected"]
    assert (said.close_code, said.connection.close_code) == (code, code)
    assert said.connection.mistakes == [mistake]


@pytest.mark.parametrize("chunk", [2560, 320000])
@pytest.mark.parametrize(("rate", "seconds"), [(1.25, 9.92 / 1.25), (2.0, 9.92 / 2), (0.0, 0.0)])
def test_audio_is_taken_at_the_ingest_rate(
    talk: Talking, chunk: int, rate: float, seconds: float
) -> None:
    """However it comes; a burst is delayed, not refused. The last 80 ms end all of it."""
    said = talk(bytes(320000), CLOSE, chunk=chunk, ingest_rate=rate)
    assert said.times[-1] == pytest.approx(seconds, abs=0.001)
    assert said.windows[-1] == 10.0


def test_a_real_time_stream_is_not_delayed(talk: Talking) -> None:
    """What comes in real time is answered when it comes."""
    said = talk(bytes(64000), CLOSE, gap=0.08)
    at = said.windows.index(2.0)
    assert said.times[at + 1] == pytest.approx(2.0)


def test_there_is_no_room_while_the_decoder_is_busy() -> None:
    """Nothing piles up in the simulator: the next frame has to wait."""
    session = opened()
    assert "Connected" in str(session.next_to_send(0.0))
    session.receive(bytes(5120), 0.0)
    assert not session.room
    with pytest.raises(RuntimeError, match="no room"):
        session.receive(bytes(2), 0.0)
    session.advance(0.0)
    assert not session.room
    assert session.deadline == pytest.approx(0.08 / 1.25)
    session.advance(session.deadline)
    assert session.room


def test_timers_run_on_audio_not_on_the_clock(talk: Talking) -> None:
    """If audio stops after speech, the end of the turn never comes."""
    speech = b"\x00\x20" * 16000
    said = talk(speech, profile="deepgram", script=["one"], hang_up=600.0)
    assert said.windows[-1] == 1.0
    said = talk(speech, bytes(16000), profile="deepgram", script=["one"], hang_up=600.0)
    assert said.events()[-1] == ("EndOfTurn", "one")


def test_workers_ai_drops_the_idle(talk: Talking, spoken: Spoken) -> None:
    """Ten seconds without data, and TCP is gone; any audio is data; Deepgram waits."""
    said = talk(spoken(0.2), profile="workers-ai", hang_up=15.0)
    assert (said.close_code, said.connection.close_code) == (1006, 1006)
    assert said.connection.mistakes == ["sent nothing for too long"]
    said = talk(spoken(0.2), hang_up=15.0)
    assert (said.connection.close_code, said.connection.closed_by_client) == (1000, True)
    said = talk(bytes(3200), chunk=640, gap=9.9, profile="workers-ai", hang_up=55.0)
    assert said.connection.closed_by_client


def test_only_the_last_connections_are_remembered() -> None:
    """Load tests do not fill the memory, and the numbers go on."""
    flux = LocalFlux()
    for _ in range(1100):
        flux.open(UpgradeRequest("/"))
    assert len(flux.connections) == 1000
    assert (flux.connections[-1].number, flux.connections[-1].refused) == (1100, 400)


@pytest.mark.parametrize("profile", ["deepgram", "workers-ai"])
def test_so_many_streams_at_once(profile: Any, target: Any) -> None:
    """Beyond it 503, in the profile's shape; who leaves makes room."""
    flux = LocalFlux(profile=profile, max_streams=2)
    request = UpgradeRequest(target(profile))
    sessions = [flux.open(request)[1] for _ in range(2)]
    refusal = flux.open(request)[1]
    assert isinstance(refusal, Refusal)
    assert refusal.status == 503
    code = {"deepgram": '"error_code": "SERVICE_UNAVAILABLE"', "workers-ai": '"code": 3040'}
    assert code[profile] in refusal.body.decode()
    assert isinstance(sessions[0], FluxSession)
    sessions[0].lost(1000)
    assert isinstance(flux.open(request)[1], FluxSession)


def test_a_broken_recognizer_comes_out() -> None:
    """Whoever carries the frames has to end the connection."""

    class Broken(CodedRecognizer):
        def hear(self, frame: bytes) -> bool:
            raise RuntimeError("deaf")

    session = opened(recognizer=Broken)
    session.receive(bytes(640), 0.0)
    with pytest.raises(RuntimeError, match="deaf"):
        session.advance(0.0)


@pytest.mark.parametrize("name", ["recognizer", "profile"])
def test_unknown_names_are_refused(name: str) -> None:
    """A wrong profile or recognizer is noticed at once."""
    with pytest.raises(ValueError, match=f"no {name} 'other'"):
        LocalFlux(**{name: "other"})  # type: ignore[arg-type]  # on purpose


def test_what_happens_is_told_in_lines(talk: Talking, spoken: Spoken) -> None:
    """One line per event, with no token in it."""
    lines: list[str] = []
    talk(
        spoken(0.2, 1.0, 0.5),
        CLOSE,
        script=["good night"],
        observe=lambda connection, line: lines.append(line),
    )
    assert lines == [
        "connected at /v2/listen: sample_rate=16000",
        "  0.50 s StartOfTurn: good",
        "  1.52 s EndOfTurn (model): good night",
        "  1.70 s client: CloseStream",
        "closes with 1005 after 1.70 s of audio",
    ]


@given(
    st.lists(st.floats(0, 0.2), max_size=60),
    st.lists(
        st.sampled_from(
            [Jitter(seconds=0.4, seed=3), SpoiledEnd(kind="twice"), SpoiledEnd(kind="late")]
        ),
        max_size=2,
    ),
)
def test_looking_in_between_changes_nothing(extra: list[float], faults: list[Any]) -> None:
    """Who asks at the deadlines alone gets the same frames at the same times as who asks always."""
    audio = speak("one two three") + bytes(32000) + speak("four")
    runs = []
    for looks in ((), extra):
        session, now, got, at = opened(recognizer=CodedRecognizer, faults=faults), 0.0, [], 0
        rest = list(looks)
        while True:
            while (frame := session.next_to_send(now)) is not None:
                if isinstance(frame, Close):
                    break
                told = json.loads(frame)
                del told["request_id"]
                got.append((round(now, 6) if not looks else None, told))
            if session.closed:
                break
            if session.room and at <= len(audio):
                piece = audio[at : at + 3000]
                session.receive(piece or json.dumps(CLOSE), now)
                at = at + 3000 if piece else len(audio) + 1
                continue
            assert session.deadline is not None
            now = min(session.deadline, now + rest.pop()) if rest else session.deadline
        runs.append([told for _, told in got])
    assert runs[0] == runs[1]
    assert "four" in [one.get("transcript") for one in runs[0]]
