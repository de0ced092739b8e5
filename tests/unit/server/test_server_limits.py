"""How many are served, for how long, and what a fault costs: real sockets, scaled deadlines."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from wyoming.audio import AudioChunk, AudioStart
from wyoming.event import Event
from wyoming.info import Describe

from wyoming_flux.ear import Ear, Model
from wyoming_flux.minutes import DailyMinutes, MinutesUsedUp
from wyoming_flux.server import Limits
from wyoming_flux.server.client import Client
from wyoming_flux.server.conversation import Conversation
from wyoming_flux.server.events import encode
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Trigger

from .conftest import STOP, open_files

LONG = AudioChunk(16000, 2, 1, bytes(320_000)).event()


async def test_the_longest_idle_connection_makes_room(serve: Any) -> None:
    """Past the limit the one that said nothing for longest is closed; the others stay."""
    one = await serve(max_connections=3)
    first, second, third = [await one.connect() for _ in range(3)]
    for client in (second, third, first):
        await client.alive()
    fourth = await one.connect()
    await fourth.alive()
    await second.closed()
    for client in (first, third, fourth):
        await client.alive()
    assert one.server.connections == 3


async def test_busy_at_once_when_all_have_turns(serve: Any, say: Any) -> None:
    """Nobody who is speaking makes room: the newcomer is told at once, and later is welcome."""
    one = await serve(max_connections=2)
    clients = [await one.connect() for _ in range(2)]
    for number, client in enumerate(clients, 1):
        await client.send(*say())
        await one.utterance(number)
    newcomer = await one.connect()
    await newcomer.send(Describe().event())
    assert await newcomer.read_error() == (
        "busy",
        "All 2 connections (--max-connections) are in use; try again in a moment.",
    )
    assert await newcomer.read() is None
    one.utterances[0].hear("done")
    await clients[0].read_answer()
    await (await one.connect()).alive()
    await clients[0].closed()


async def test_a_crowd_that_is_turned_away_does_not_pile_up(serve: Any, say: Any) -> None:
    """Newcomers that do not go when told so are closed at once when there are too many."""
    one = await serve(max_connections=1, limits=Limits(tick=0.02, linger=60))
    client = await one.connect()
    await client.send(*say())
    await one.utterance()
    before = open_files()
    crowd = [await one.connect() for _ in range(20)]
    for stranger in crowd:
        assert (await stranger.read_error())[0] == "busy"
        await stranger.closed()
    await client.alive()
    # The clients' ends, and no more than two of the server's.
    assert open_files() <= before + 20 + 2
    one.utterances[0].hear("still here")
    assert await client.read_answer() == "still here"
    client.close()
    for stranger in crowd:
        stranger.close()


async def test_those_who_made_room_do_not_pile_up(serve: Any) -> None:
    """Nor do idle ones that do not go when the next one comes."""
    one = await serve(max_connections=3, limits=Limits(tick=0.02, linger=60))
    crowd: list[Any] = []
    before = open_files()
    for _ in range(30):
        crowd.append(await one.connect())
        await crowd[-1].alive()
        assert one.server.connections <= 3
        assert open_files() <= before + len(crowd) + 7
    for client in crowd:
        client.close()


async def test_a_client_that_reads_no_last_word_is_cut_off(serve: Any) -> None:
    """With answers stuck on their way there is no orderly end, but there is an end."""
    one = await serve(limits=Limits(tick=0.02, linger=0.1))
    client = await one.connect()
    client.writer.transport.pause_reading()
    client.writer.write(encode(Event("ping", {"text": "x" * 50_000})) * 200)
    await client.stuck(await one.connect())
    async with asyncio.timeout(5):
        await one.server.stop(grace=0)
    assert one.server.connections == 0


async def test_half_closed_with_answers_on_their_way(speaking: Any, say: Any) -> None:
    """A client that ends its side and does not read costs no Flux, and is cut off."""
    one, client, utterance = await speaking(*say(stop=True), limits=Limits(tick=0.02, linger=0.1))
    client.writer.transport.pause_reading()
    client.writer.write(encode(Event("ping", {"text": "x" * 50_000})) * 60)
    client.writer.write_eof()
    await utterance.closed.wait()
    other = await one.connect()
    while one.server.connections > 1:
        await other.alive()
    client.writer.transport.resume_reading()
    await client.closed()


async def test_idle_connections_are_closed(serve: Any, say: Any) -> None:
    """Silence for too long closes; a running turn and a client that talks are not idle."""
    one = await serve(limits=Limits(tick=0.01, linger=0.1, idle=0.3))
    speaking = await one.connect()
    await speaking.send(*say())
    utterance = await one.utterance()
    silent = await one.connect()
    await silent.closed()
    utterance.hear("never idle")
    assert await speaking.read_answer() == "never idle"
    await speaking.closed()


async def test_half_an_event_is_not_waited_for_forever(serve: Any) -> None:
    """A slow drip that never completes an event is told so, and closed."""
    one = await serve(limits=Limits(tick=0.01, linger=0.1, half_event=0.2))
    client = await one.connect()
    await client.alive()
    await client.send(b'{"type": "de')
    code, text = await client.read_error()
    assert code == "invalid-event"
    assert text == "Half an event waited for its rest for 0.2 s."
    assert await client.read() is None


async def test_whole_events_restart_the_wait(serve: Any) -> None:
    """Half an event at each look is no slow drip as long as events complete in between."""
    one = await serve(limits=Limits(tick=0.01, linger=0.1, half_event=0.15))
    client = await one.connect()
    whole = b'{"type": "describe"}\n'
    await client.send(whole[:5])
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() - begun < 0.4:
        await client.send(whole[5:] + whole[:5])
        await client.read_type("info")
    assert (await client.read_error())[0] == "invalid-event"


async def test_audio_that_nobody_waits_for_closes_in_the_end(speaking: Any) -> None:
    """60 s of audio after the answer are read, more closes; the transcript is not lost."""
    _, client, utterance = await speaking()
    utterance.hear("done")
    await client.read_type("transcript-start")
    await client.send(*[LONG] * 6)
    assert (await client.read_type("transcript")).data == {"text": "done"}
    await client.read_type("transcript-stop")
    await client.alive()
    await client.send(LONG)
    assert await client.read() is None


async def test_discarded_audio_of_a_refused_turn_counts(serve: Any) -> None:
    """So does audio whose format was never understood, and each turn counts afresh."""
    one = await serve()
    client = await one.connect()
    for _ in range(2):
        await client.send(Event("audio-start", {"rate": 1, "width": 2, "channels": 1}))
        assert (await client.read_error())[0] == "invalid-audio"
        await client.send(*[LONG] * 5, STOP)
    await client.alive()
    await client.send(Event("audio-start"))
    assert (await client.read_error())[0] == "invalid-event"
    await client.send(*[LONG] * 7)
    assert await client.read() is None


async def test_a_client_that_does_not_read_is_closed(serve: Any) -> None:
    """Answers to it are bounded; it is closed after a while; others notice nothing."""
    one = await serve(limits=Limits(tick=0.02, write_stall=1))
    deaf = await one.connect()
    deaf.writer.transport.pause_reading()
    describes = b'{"type": "describe"}\n' * 20_000
    for _ in range(20):
        deaf.writer.write(describes)
    other = await one.connect()
    # What cannot be answered is not read, either.
    await deaf.stuck(other)
    while one.server.connections > 1:
        await other.alive()
    await other.alive()


async def test_a_client_that_reads_late_gets_everything(serve: Any) -> None:
    """Reading pauses while the client does not read, and goes on when it does."""
    one = await serve()
    client = await one.connect()
    client.writer.transport.pause_reading()
    text = "x" * 50_000
    count = 200
    client.writer.write(encode(Event("ping", {"text": text})) * count)
    await client.stuck(await one.connect())
    client.writer.transport.resume_reading()
    for _ in range(count):
        assert (await client.read_type("pong")).data == {"text": text}
    await client.alive()


async def test_malformed_input_is_named_and_closed(serve: Any) -> None:
    """An error event, then the end; what came before is answered; others are unaffected."""
    one = await serve()
    client, other = await one.connect(), await one.connect()
    await client.send(Describe().event(), b"GET / HTTP/1.1\r\n\r\n", b"x" * 1_000_000)
    await client.read_type("info")
    code, text = await client.read_error()
    assert code == "invalid-event"
    assert text == "The header line of a Wyoming event must be valid JSON."
    assert await client.read() is None
    await other.alive()


async def test_malformed_input_ends_the_turn(serve: Any, say: Any) -> None:
    """Flux is closed with the connection."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(), b"\xff\n")
    assert (await client.read_error())[0] == "invalid-event"
    for utterance in one.utterances:
        await utterance.closed.wait()


async def test_the_watchdog_survives_a_fault(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of ours with one connection closes that one; the watch goes on."""
    one = await serve(limits=Limits(tick=0.02, idle=0.2, linger=0.1))
    first = await one.connect()
    await first.alive()

    def broken(_self: Client, _now: float) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(Client, "check", broken)
        await first.closed()
    caplog.records.clear()
    second = await one.connect()
    await second.closed()


async def test_a_fault_while_handling_is_internal(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of ours in the connection is said as such, and closes that connection alone."""
    one = await serve()
    client, other = await one.connect(), await one.connect()
    handle = Conversation.handle

    def broken(self: Conversation, event: Event) -> bool:
        if event.type == "describe":
            raise RuntimeError("a bug")
        return handle(self, event)

    monkeypatch.setattr(Conversation, "handle", broken)
    await client.send(Describe().event())
    assert (await client.read_error())[0] == "internal"
    assert await client.read() is None
    await other.alive()
    assert [record.exc_info for record in caplog.records if record.exc_info]
    caplog.records.clear()


async def test_on_report_may_fail(serve: Any, say: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Who listens to reports cannot break a turn."""
    one = await serve()

    def broken(_report: Any) -> None:
        raise RuntimeError("a bug")

    one.note = broken
    client = await one.connect()
    for number in (1, 2):
        await client.send(*say(stop=True))
        await one.answers(client, "fine", number)
    await one.server.stop()
    assert "on_report failed" in caplog.text
    caplog.records.clear()


async def test_the_daily_limit_refuses_new_turns(speaking: Any, say: Any) -> None:
    """At the limit: quota, with the option's name and when it is renewed."""
    one, client, first = await speaking(*say(bytes(16_000), stop=True), daily_minutes=0.01)
    await first.ended.wait()
    first.hear("half a second")
    assert await client.read_answer() == "half a second"
    await one.report()
    assert one.server.minutes.seconds == 0.5
    await client.send(*say(bytes(16_000), stop=True))
    await one.answers(client, "and another", 2)
    await one.report(2)
    await client.send(*say(stop=True))
    assert await client.read_error() == (
        "quota",
        "The limit of 0.01 minutes a day (--daily-minutes) is used up; it is renewed at 00:00 UTC.",
    )
    await client.alive()


async def test_the_daily_limit_and_a_free_ear_without_the_language(serve: Any, say: Any) -> None:
    """Who could hear for nothing does not know the language: it is the limit that is told."""
    minutes = DailyMinutes(1, option="an option")
    minutes.add(61)
    flux = FluxSettings(model="flux-general-multi")
    ear = Ear(Model(Path("nowhere"), "tiny"))
    one = await serve(real=True, route="deepgram", flux=flux, minutes=minutes, fallbacks=(ear,))
    client = await one.connect()
    await client.send(*say(language="de", stop=True))
    code, text = await client.read_error()
    assert code == "quota"
    assert "an option" in text


@pytest.mark.parametrize("answer_on", ["end-of-turn", "audio-stop"])
async def test_the_daily_limit_lets_a_sentence_be_finished(speaking: Any, answer_on: Any) -> None:
    """Used up in mid-sentence: an assistant's is heard to its end, a dictation gets one more turn.

    The next one is refused.
    """
    usage = DailyMinutes(0.05, option="an option")
    one, client, utterance = await speaking(
        AudioStart(16000, 2, 1).event(),
        LONG,
        LONG,
        minutes=usage,
        turn=UtteranceSettings(answer_on=answer_on, max_turn=7),
    )
    await utterance.heard(2 * 320_000)
    assert usage.exhausted
    assert not utterance.ended.is_set()
    assert utterance.limits == ([(7, "daily-limit")] if answer_on == "audio-stop" else [])
    await client.send(STOP)
    await utterance.ended.wait()
    utterance.hear("to the end", Trigger.AUDIO_STOP)
    assert await client.read_answer() == "to the end"
    await client.send(AudioStart(16000, 2, 1).event())
    assert (await client.read_error())[0] == "quota"
    assert isinstance((await one.report(2)).error, MinutesUsedUp)


async def test_turns_given_up_are_counted(serve: Any, say: Any) -> None:
    """What was sent to Flux costs, whether it was answered or not."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(bytes(32_000)))
    await (await one.utterance()).heard(30_000)
    client.close()
    await one.report()
    assert one.server.minutes.seconds == (await one.report()).audio_seconds > 0.9
