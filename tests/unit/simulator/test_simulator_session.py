"""One connection, in memory and virtual time: control messages, closes, pace and idleness."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from wyoming_flux.simulator import CodedRecognizer, Request, Service, TransportClosed, memory_pair

Dialogue = Callable[..., Any]
Spoken = Callable[..., bytes]
CLOSE = {"type": "CloseStream"}
FORCE = {"type": "ForceEndTurn"}


def test_close_stream_flushes_and_ends_no_turn(dialogue: Dialogue, spoken: Spoken) -> None:
    """Updates up to the last sample, then a close frame without a code."""
    audio = spoken(0.2, 1.03)
    talk = dialogue(audio, CLOSE)
    assert talk.close_code == 1005
    assert talk.messages[0]["type"] == "Connected"
    assert talk.messages[-1]["audio_window_end"] == pytest.approx(1.23)
    assert talk.messages[-1]["event"] == "Update"
    assert "EndOfTurn" not in dict(talk.events())
    assert (talk.connection.audio_bytes, bytes(talk.connection.audio)) == (len(audio), audio)
    assert talk.connection.controls == [CLOSE]
    assert (talk.connection.close_code, talk.connection.mistakes) == (1005, [])


def test_workers_ai_drops_tcp_after_close_stream(dialogue: Dialogue) -> None:
    """Its client sees 1006, unless told otherwise."""
    assert dialogue(CLOSE, profile="workers-ai").close_code == 1006
    assert dialogue(CLOSE, profile="workers-ai", close_code=1005).close_code == 1005


def test_sequence_ids_count_over_all_messages(dialogue: Dialogue, spoken: Spoken) -> None:
    """Connected is 0; every message of whatever type has the next."""
    talk = dialogue(FORCE, spoken(0.2, 1.0), {"type": "Configure"}, FORCE, CLOSE)
    assert [one["sequence_id"] for one in talk.messages] == list(range(len(talk.messages)))
    assert {one["request_id"] for one in talk.messages} == {talk.connection.request_id}
    kinds = [one["type"] for one in talk.messages if one["type"] != "TurnInfo"]
    assert kinds == ["Connected", "Warning", "ConfigureSuccess"]


def test_force_end_turn_then_close(dialogue: Dialogue, spoken: Spoken) -> None:
    """The end of the turn comes first, then the close."""
    talk = dialogue(spoken(0.2, 1.0), FORCE, CLOSE)
    assert talk.messages[-1]["event"] == "EndOfTurn"
    assert talk.messages[-1]["trigger"] == "manual"
    assert talk.close_code == 1005


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"KeepAlive"}',
        '{"type":"Finalize"}',
        '{"type":"CloseStream","now":true}',
        '{"type":"Configure","thresholds":7}',
        '{"type":7}',
        '{"kind":"CloseStream"}',
        "[]",
        "null",
        "[object Blob]",
        "",
    ],
)
@pytest.mark.parametrize("profile", ["deepgram", "workers-ai"])
def test_an_unknown_text_is_fatal(
    dialogue: Dialogue, spoken: Spoken, profile: str, text: str
) -> None:
    """An Error that says so, and a close without a code; the profile does not matter."""
    talk = dialogue(spoken(0.5), text, spoken(0.5), profile=profile)
    assert talk.messages[-1]["code"] == "UNPARSABLE_CLIENT_MESSAGE"
    assert talk.messages[-1]["type"] == "Error"
    assert talk.close_code == 1005
    assert len(talk.connection.mistakes) == 1


def test_workers_ai_does_not_know_force_end_turn(dialogue: Dialogue, spoken: Spoken) -> None:
    """Announced for Deepgram's own hosting only."""
    talk = dialogue(spoken(0.2, 1.0), FORCE, profile="workers-ai")
    assert talk.messages[-1]["code"] == "UNPARSABLE_CLIENT_MESSAGE"
    assert talk.close_code == 1005
    answer = dialogue({"type": "Configure"}, CLOSE, profile="workers-ai").messages[-1]
    assert answer["type"] == "ConfigureSuccess"


def test_an_empty_frame_is_fatal(dialogue: Dialogue) -> None:
    """It was the end-of-stream marker of the older API."""
    talk = dialogue(b"", bytes(2560))
    assert [one["type"] for one in talk.messages] == ["Connected"]
    assert (talk.close_code, talk.connection.mistakes) == (1005, ["sent an empty binary frame"])


def test_half_a_sample_is_fatal(dialogue: Dialogue) -> None:
    """An odd length would shift all samples after it."""
    talk = dialogue(bytes(2559))
    assert (talk.close_code, talk.connection.close_code) == (1008, 1008)
    assert talk.connection.mistakes == ["sent half a sample of audio"]


def test_audio_is_taken_at_the_ingest_rate(dialogue: Dialogue, spoken: Spoken) -> None:
    """At most 1.25 times real time, however it comes; a burst is delayed, not refused."""
    for frames in ([spoken(10.0)], [bytes(320000)]):
        talk = dialogue(*frames, CLOSE, limit=1000)
        # The last 80 ms begin when those before are done.
        assert talk.times[-1] == pytest.approx((10 - 0.08) / 1.25, abs=0.01)
        assert talk.messages[-1]["audio_window_end"] == 10.0


def test_one_large_frame_is_paced_too(run_virtual: Callable[..., Any]) -> None:
    """The rate is of the audio, not of frames."""

    async def main() -> float:
        flux = Service(ingest_rate=2.0)
        here, there = memory_pair(limit=1000)
        connection, _ = await flux.open(Request("/?encoding=linear16&sample_rate=16000"))
        session = asyncio.create_task(flux.serve(connection, there))
        await here.send(bytes(320000))
        await here.send(json.dumps(CLOSE))
        await session
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == pytest.approx((10 - 0.08) / 2, abs=0.01)


def test_unlimited_takes_no_time(dialogue: Dialogue, spoken: Spoken) -> None:
    """Rate 0 is for load tests."""
    talk = dialogue(spoken(10.0), CLOSE, ingest_rate=0)
    assert talk.times[-1] == 0
    assert talk.messages[-1]["audio_window_end"] == 10.0


def test_a_real_time_stream_is_not_delayed(run_virtual: Callable[..., Any]) -> None:
    """What comes in real time is answered when it comes."""

    async def main() -> tuple[float, float]:
        flux = Service()
        here, there = memory_pair()
        connection, _ = await flux.open(Request("/?encoding=linear16&sample_rate=16000"))
        session = asyncio.create_task(flux.serve(connection, there))
        await here.receive()
        for _ in range(25):
            await asyncio.sleep(0.08)
            await here.send(bytes(2560))
        message: dict[str, Any] = {}
        while message.get("audio_window_end", 0) < 2.0:
            message = json.loads(await here.receive())
        now = asyncio.get_running_loop().time()
        await here.close()
        await session
        return now, message["audio_window_end"]

    now, heard = run_virtual(main)
    assert now == pytest.approx(heard, abs=0.001)


def test_back_pressure_reaches_the_client(run_virtual: Callable[..., Any]) -> None:
    """While the decoder is busy, sending waits: nothing piles up in the simulator."""

    async def main() -> float:
        flux = Service()
        here, there = memory_pair(limit=2)
        connection, _ = await flux.open(Request("/?encoding=linear16&sample_rate=16000"))
        session = asyncio.create_task(flux.serve(connection, there))
        for _ in range(100):
            await here.send(bytes(2560))
        now = asyncio.get_running_loop().time()
        await here.close()
        await session
        return now

    assert run_virtual(main) == pytest.approx((100 - 3) * 0.08 / 1.25, abs=0.1)


def test_timers_run_on_audio_not_on_the_clock(run_virtual: Callable[..., Any]) -> None:
    """If audio stops after speech, the end of the turn never comes."""

    async def main() -> list[str]:
        flux = Service(profile="deepgram", script=["one"])
        here, there = memory_pair(1000)
        target = "/v2/listen?model=flux-general-en&encoding=linear16&sample_rate=16000"
        connection, _ = await flux.open(Request(target))
        session = asyncio.create_task(flux.serve(connection, there))
        await here.send(b"\x00\x20" * 16000)
        await asyncio.sleep(600)
        before = len(connection.sent)
        assert connection.sent[-1]["audio_window_end"] == 1.0
        await here.send(bytes(16000))
        await asyncio.sleep(1)
        await here.close()
        await session
        return [one["event"] for one in connection.sent[before:]]

    assert run_virtual(main)[:2] == ["Update", "EndOfTurn"]


def test_workers_ai_drops_the_idle(dialogue: Dialogue, spoken: Spoken) -> None:
    """Ten seconds without data, and TCP is gone; Deepgram waits."""
    talk = dialogue(spoken(0.2), profile="workers-ai", hang_up=15.0)
    assert (talk.close_code, talk.connection.close_code) == (1006, 1006)
    assert talk.connection.mistakes == ["sent nothing for too long"]
    talk = dialogue(spoken(0.2), hang_up=15.0)
    assert (talk.connection.close_code, talk.connection.closed_by_client) == (1000, True)


def test_silence_keeps_the_connection(run_virtual: Callable[..., Any]) -> None:
    """Any audio is data."""

    async def main() -> bool:
        flux = Service(profile="workers-ai")
        here, there = memory_pair()
        connection, _ = await flux.open(Request("/?encoding=linear16&sample_rate=16000"))
        session = asyncio.create_task(flux.serve(connection, there))
        for _ in range(5):
            await asyncio.sleep(9.9)
            await here.send(bytes(640))
        open_still = not here.closed
        await here.close()
        await session
        return open_still

    assert run_virtual(main)


def test_a_cancelled_session_leaves_nothing(run_virtual: Callable[..., Any]) -> None:
    """No task stays, whatever it waited for (the fixture checks)."""

    async def main() -> None:
        for delay in (0.0, 0.5, 2.0):
            flux = Service()
            here, there = memory_pair()
            connection, _ = await flux.open(Request("/?encoding=linear16&sample_rate=16000"))
            session = asyncio.create_task(flux.serve(connection, there))
            await here.send(bytes(64000))
            await asyncio.sleep(delay)
            session.cancel()
            await asyncio.wait([session])
            assert session.cancelled()

    run_virtual(main)


def test_a_refused_connection_cannot_be_served(run_virtual: Callable[..., Any]) -> None:
    """It has no parameters."""

    async def main() -> None:
        flux = Service()
        connection, _ = await flux.open(Request("/"))
        assert connection.refused == 400
        with pytest.raises(ValueError, match="refused"):
            await flux.serve(connection, memory_pair()[0])

    run_virtual(main)


def test_only_the_last_connections_are_remembered(run_virtual: Callable[..., Any]) -> None:
    """Load tests do not fill the memory, and the numbers go on."""

    async def main() -> None:
        flux = Service()
        for _ in range(1100):
            await flux.open(Request("/"))
        assert len(flux.connections) == 1000
        assert flux.connections[-1].number == 1100

    run_virtual(main)


def test_a_broken_recognizer_does_not_leave_the_client_hanging(
    run_virtual: Callable[..., Any],
) -> None:
    """The connection ends with 1011, and the error comes out."""

    class Broken(CodedRecognizer):
        def feed(self, frame: bytes, voiced: bool) -> None:
            raise RuntimeError("deaf")

    async def main() -> None:
        flux = Service(recognizer=lambda _: Broken())
        here, there = memory_pair()
        connection, _ = await flux.open(Request("/?encoding=linear16&sample_rate=16000"))
        session = asyncio.create_task(flux.serve(connection, there))
        await here.receive()  # Connected
        await here.send(bytes(640))
        with pytest.raises(RuntimeError, match="deaf"):
            await session
        with pytest.raises(TransportClosed) as closed:
            await here.receive()
        assert closed.value.code == connection.close_code == 1011

    run_virtual(main)


def test_unknown_names_are_refused() -> None:
    """A wrong profile or recognizer is noticed at once."""
    with pytest.raises(ValueError, match="recognizer"):
        Service(recognizer="ears")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(KeyError):
        Service(profile="other")  # type: ignore[arg-type]  # on purpose


def test_what_happens_is_told_in_lines(dialogue: Dialogue, spoken: Spoken) -> None:
    """One line per event, with no token in it."""
    lines: list[str] = []
    dialogue(
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
