"""One client connection: which event has which effect, over real sockets."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from wyoming.asr import Transcribe
from wyoming.event import Event
from wyoming.info import Describe

from wyoming_flux.errors import AuthFailed, ConnectionLost
from wyoming_flux.server import Limits
from wyoming_flux.utterance import Trigger

from .conftest import PCM, START, STOP, chunk


async def test_answers_while_the_client_is_still_sending(speaking: Any) -> None:
    """The transcript comes at once; later audio is read and discarded; audio-stop says nothing."""
    one, client, utterance = await speaking()
    heard = await utterance.heard(2560)
    assert PCM.startswith(heard)
    utterance.hear("turn on the light")
    assert await client.read_answer() == "turn on the light"
    await client.send(chunk(), chunk(), STOP, STOP)
    await client.alive()
    assert bytes(utterance.received) == heard
    await utterance.closed.wait()
    assert not utterance.ended.is_set()
    assert len(one.utterances) == 1


async def test_connects_at_transcribe(serve: Any) -> None:
    """Connecting begins before there is any audio."""
    one = await serve()
    client = await one.connect()
    await client.send(Transcribe(language="en").event())
    assert (await one.utterance()).started


async def test_audio_stop_ends_with_all_audio(serve: Any, say: Any) -> None:
    """When the client ends first, the transcriber has every byte, and then is told the end."""
    one = await serve()
    client = await one.connect()
    odd = [bytes(range(number, 251 + number % 2)) for number in range(20)]
    await client.send(Transcribe().event(), START, *(chunk(pcm) for pcm in odd), STOP)
    utterance = await one.utterance()
    await utterance.ended.wait()
    assert bytes(utterance.received) == b"".join(odd)
    utterance.hear("", Trigger.NO_SPEECH)
    assert await client.read_answer() == ""
    report = await one.report()
    assert (report.trigger, report.characters, report.attempts) == ("no-speech", 0, 1)


async def test_a_turn_that_was_ended_is_answered_before_the_next_begins(
    serve: Any, say: Any
) -> None:
    """Three utterances at once: connected and answered one by one, in order, none lost."""
    one = await serve()
    client = await one.connect()
    for number in (1, 2, 3):
        await client.send(*say(bytes([number]) * 3200, stop=True))
    for number in (1, 2, 3):
        await (await one.utterance(number)).ended.wait()
        assert len(one.utterances) == number
        utterance = await one.answers(client, f"number {number}", number)
        assert bytes(utterance.received) == bytes([number]) * 3200
    await client.alive()


async def test_describe_is_answered_while_turns_wait(serve: Any, say: Any) -> None:
    """A running and a waiting turn do not keep describe and ping from being answered."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(stop=True), *say(), Describe().event())
    await one.utterance()
    await client.read_type("info")
    await client.alive()


@pytest.mark.parametrize("begin", [[Transcribe().event(), START], [START]])
async def test_a_new_turn_replaces_one_that_was_not_ended(
    speaking: Any, begin: list[Event]
) -> None:
    """The former's Flux socket closes at once, and its transcript is not sent."""
    one, client, first = await speaking()
    await first.heard(2560)
    await client.send(*begin, chunk(b"\7\7" * 1600), STOP)
    await first.closed.wait()
    second = await one.answers(client, "second", 2)
    assert bytes(second.received) == b"\7\7" * 1600
    assert await one.outcome(1) is None


async def test_disconnecting_closes_flux_at_once(serve: Any, say: Any) -> None:
    """Nobody pays for audio that nobody waits for."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(stop=True), *say())
    utterance = await one.utterance()
    client.close()
    await utterance.closed.wait()
    assert await one.outcome() is None
    assert len(one.utterances) == 1


async def test_closing_after_the_answer_is_normal(
    speaking: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Home Assistant closes without audio-stop, even with a reset: nothing but debug in the log."""
    one, client, utterance = await speaking()
    utterance.hear("done")
    await client.read_answer()
    client.writer.transport.abort()
    await utterance.closed.wait()
    other = await one.connect()
    await other.alive()
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG, logging.INFO}


async def test_partial_text(speaking: Any) -> None:
    """Order: transcript-start, chunks, transcript, transcript-stop; nothing after the answer."""
    _, client, utterance = await speaking()
    utterance.partial("turn on")
    assert (await client.read_type("transcript-start")).data == {}
    assert (await client.read_type("transcript-chunk")).data == {"text": "turn on"}
    utterance.partial(" the light")
    utterance.hear("turn on the light")
    assert (await client.read_type("transcript-chunk")).data == {"text": " the light"}
    assert (await client.read_type("transcript")).data == {"text": "turn on the light"}
    await client.read_type("transcript-stop")
    utterance.partial("too late")
    await client.alive()


async def test_an_error_is_never_a_transcript(speaking: Any, say: Any) -> None:
    """Flux's failure becomes an error event with its code; the connection stays usable."""
    one, client, utterance = await speaking()
    utterance.fail(AuthFailed("The token is wrong."))
    assert await client.read_error() == ("auth", "The token is wrong.")
    assert await one.outcome() == "auth"
    await client.send(chunk(), STOP, *say(stop=True))
    await one.answers(client, "now it works", 2)


async def test_audio_without_start_begins_a_turn(serve: Any) -> None:
    """A chunk brings its format along; without transcribe, with transcribe."""
    one = await serve()
    client = await one.connect()
    for number, begin in ((1, []), (2, [Transcribe().event()])):
        await client.send(*begin, chunk(), STOP)
        utterance = await one.answers(client, "heard", number)
        assert bytes(utterance.received) == PCM


async def test_audio_without_start_waits_its_turn(serve: Any, say: Any) -> None:
    """Such audio, too, waits while two utterances before it are to be answered."""
    one = await serve()
    client = await one.connect()
    await client.send(
        *say(stop=True), *say(stop=True), Transcribe().event(), chunk(b"\3\3" * 1600), STOP
    )
    for number in (1, 2, 3):
        await one.answers(client, f"number {number}", number)
    assert bytes(one.utterances[2].received) == b"\3\3" * 1600


async def test_chunks_without_format_take_that_of_the_start(speaking: Any) -> None:
    """What is left out contradicts nothing; an empty chunk is nothing."""
    _, _, utterance = await speaking(
        START, Event("audio-chunk", {}, PCM), Event("audio-chunk", {}), STOP
    )
    await utterance.ended.wait()
    assert bytes(utterance.received) == PCM


async def test_audio_stop_without_audio(serve: Any) -> None:
    """After transcribe it ends the turn; on its own it is nothing."""
    one = await serve()
    client = await one.connect()
    await client.send(STOP)
    await client.alive()
    await client.send(Transcribe().event(), STOP)
    utterance = await one.utterance()
    await utterance.ended.wait()
    utterance.hear("", Trigger.AUDIO_STOP)
    assert await client.read_answer() == ""


async def test_a_client_that_takes_its_time(speaking: Any, say: Any) -> None:
    """Audio that begins after the empty answer to its transcribe is heard, with its settings."""
    one, client, utterance = await speaking(Transcribe(vad_sensitivity="relaxed").event())
    utterance.hear("", Trigger.NO_AUDIO)
    assert await client.read_answer() == ""
    await client.send(*say(transcribe=False, stop=True))
    second = await one.utterance(2)
    assert second.settings.sensitivity == "relaxed"
    second.hear("late")
    assert await client.read_answer() == "late"


async def test_other_formats_are_converted(speaking: Any, say: Any) -> None:
    """44.1 kHz stereo, 24 bit, becomes 16 kHz mono; the format may differ in each turn."""
    one, client, first = await speaking(
        *say(bytes(44100 * 6), rate=44100, width=3, channels=2, stop=True)
    )
    await first.ended.wait()
    assert bytes(first.received) == bytes(32000)
    first.hear("stereo")
    assert await client.read_answer() == "stereo"
    await client.send(*say(b"\x80" * 8000, rate=8000, width=1, stop=True))
    second = await one.utterance(2)
    await second.ended.wait()
    assert bytes(second.received) == bytes(32000)


async def test_back_pressure(speaking: Any, say: Any) -> None:
    """While the transcriber takes nothing, reading stops; then all arrives; answers still come."""
    _, client, utterance = await speaking(*say(PCM), limits=Limits(tick=0.02, unsent_audio=10_000))
    utterance.room.clear()
    await utterance.heard(2560)
    pcm = bytes(range(256)) * 100_000
    sending = asyncio.create_task(
        client.send(*(chunk(pcm[at : at + 64_000]) for at in range(0, len(pcm), 64_000)), STOP)
    )
    utterance.partial("still")
    await client.read_type("transcript-start")
    await client.read_type("transcript-chunk")
    assert not sending.done()
    utterance.room.set()
    await sending
    await utterance.ended.wait()
    assert bytes(utterance.received) == PCM + pcm


async def test_a_result_comes_through_back_pressure(speaking: Any, say: Any) -> None:
    """The answer is written while reading is paused, and the rest is then discarded."""
    _, client, utterance = await speaking(*say(PCM), limits=Limits(tick=0.02, unsent_audio=10_000))
    utterance.room.clear()
    await utterance.heard(2560)
    chunks = [chunk(bytes(64_000)) for _ in range(25)]
    sending = asyncio.create_task(client.send(*chunks, STOP))
    utterance.hear("enough")
    assert await client.read_answer() == "enough"
    await sending
    await client.alive()


async def test_a_disconnect_is_noticed_through_back_pressure(speaking: Any, say: Any) -> None:
    """A client that leaves while its audio waits unread costs nothing any more."""
    one, client, utterance = await speaking(
        *say(PCM), limits=Limits(tick=0.02, unsent_audio=10_000)
    )
    utterance.room.clear()
    await utterance.heard(2560)
    # Little enough that the end of the connection is not stuck behind it on the client's side.
    await client.send(*(chunk(bytes(16_000)) for _ in range(2)))
    client.close()
    await utterance.closed.wait()
    assert await one.outcome() is None


async def test_a_full_waiting_turn_pauses_reading(serve: Any, say: Any) -> None:
    """Audio of a turn that waits for the answer before it is kept, within the limit."""
    one = await serve(limits=Limits(tick=0.02, unsent_audio=10_000))
    client = await one.connect()
    pcm = bytes(range(256)) * 10_000
    sending = asyncio.create_task(
        client.send(
            *say(stop=True),
            START,
            *(chunk(pcm[at : at + 64_000]) for at in range(0, len(pcm), 64_000)),
            STOP,
        )
    )
    await one.answers(client, "first")
    await sending
    second = await one.utterance(2)
    await second.ended.wait()
    assert bytes(second.received) == pcm


async def test_frames_do_not_wait_for_the_next_chunk(speaking: Any) -> None:
    """However chunks and frames of 80 ms lie, a whole frame is passed on when it is there."""
    _, client, utterance = await speaking(START)
    pcm = bytes(range(256)) * 8
    for count in range(1, 11):
        await client.send(chunk(pcm))
        await client.alive()
        whole = count * 2048 // 2560 * 2560
        assert len(await utterance.heard(whole)) >= whole


async def test_a_lost_way_to_flux_while_sending(speaking: Any) -> None:
    """An error that shows while audio is sent is the turn's, and is said once."""
    _, client, utterance = await speaking(START)
    utterance.send = raising(ConnectionLost("The connection to Flux broke."))
    await client.send(chunk(), chunk())
    assert await client.read_error() == ("connection-lost", "The connection to Flux broke.")
    await utterance.closed.wait()
    await client.send(chunk(), STOP)
    await client.alive()


async def test_a_turn_that_is_cancelled_is_answered_too(speaking: Any) -> None:
    """Should anything cancel a turn behind our back, its client is not left waiting."""
    _, client, utterance = await speaking()
    utterance.cancel()
    assert (await client.read_error())[0] == "internal"
    await client.send(STOP)
    await client.alive()


@pytest.mark.parametrize("strays", [1, 3])
async def test_a_chunk_after_audio_stop_begins_nothing(
    speaking: Any, say: Any, strays: int
) -> None:
    """It opens no second connection and gets no answer, before the transcript and after it."""
    one, client, utterance = await speaking(*say(stop=True), *[chunk()] * strays)
    utterance.hear("done")
    assert await client.read_answer() == "done"
    await client.send(*[chunk()] * strays, STOP, chunk())
    await client.alive()
    assert len(one.utterances) == 1
    # What was meant to begin one still does.
    await client.send(*say(stop=True))
    await one.utterance(2)


def raising(error: Exception) -> Callable[..., Any]:
    """Return a function that raises."""

    def function(*_: Any, **__: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize("where", ["result", "send", "factory", "keyterms"])
async def test_a_fault_of_ours_is_internal(
    serve: Any,
    say: Any,
    where: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever breaks: an error event with code internal, one traceback, a usable connection."""
    bug = RuntimeError("a bug")
    one = await serve(keyterms=raising(bug) if where == "keyterms" else None)
    client = await one.connect()
    if where == "factory":
        one.make = raising(bug)
    await client.send(*say())
    if where in ("result", "send"):
        utterance = await one.utterance()
        if where == "result":
            utterance.fail(bug)
        else:
            utterance.send = raising(bug)
            await client.send(chunk())
    code, text = await client.read_error()
    assert code == "internal"
    assert "bug" not in text
    assert await one.outcome() == "internal"
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == 1
    caplog.records.clear()
    await client.send(STOP)
    await client.alive()
