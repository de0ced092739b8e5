"""One client connection: which event has which effect, over real sockets."""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Describe, Info

from wyoming_flux.errors import AuthFailed, ConnectionLost, Unreachable
from wyoming_flux.server import Limits
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Trigger

FORM = {"rate": 16000, "width": 2, "channels": 1}
STOP = AudioStop().event()
START = AudioStart(**FORM).event()
PCM = b"\1\2" * 1600


def chunk(pcm: bytes = PCM, **form: Any) -> Event:
    """Return an audio-chunk."""
    return AudioChunk(**{**FORM, **form}, audio=pcm).event()


async def test_answers_while_the_client_is_still_sending(serve: Any, say: Any) -> None:
    """The transcript comes at once; later audio is read and discarded; audio-stop says nothing."""
    one = await serve()
    client = await one.connect()
    await client.send(*say())
    utterance = await one.utterance()
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


async def test_two_turns_on_one_connection(serve: Any, say: Any) -> None:
    """A connection serves one turn after the other, each with its own audio and text."""
    one = await serve()
    client = await one.connect()
    for number, text in ((1, "first"), (2, "second")):
        pcm = bytes([number]) * 3200
        await client.send(*say(pcm, stop=True))
        utterance = await one.utterance(number)
        await utterance.ended.wait()
        assert bytes(utterance.received) == pcm
        utterance.hear(text)
        assert await client.read_answer() == text


async def test_a_turn_that_was_ended_is_answered_before_the_next_begins(
    serve: Any, say: Any
) -> None:
    """Three utterances at once: connected and answered one by one, in order, none lost."""
    one = await serve()
    client = await one.connect()
    for number in (1, 2, 3):
        await client.send(*say(bytes([number]) * 3200, stop=True))
    for number in (1, 2, 3):
        utterance = await one.utterance(number)
        await utterance.ended.wait()
        assert len(one.utterances) == number
        assert bytes(utterance.received) == bytes([number]) * 3200
        utterance.hear(f"number {number}")
        assert await client.read_answer() == f"number {number}"
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
    serve: Any, say: Any, begin: list[Event]
) -> None:
    """The former's Flux socket closes at once, and its transcript is not sent."""
    one = await serve()
    client = await one.connect()
    await client.send(*say())
    first = await one.utterance()
    await first.heard(2560)
    await client.send(*begin, chunk(b"\7\7" * 1600), STOP)
    await first.closed.wait()
    second = await one.utterance(2)
    await second.ended.wait()
    assert bytes(second.received) == b"\7\7" * 1600
    second.hear("second")
    assert await client.read_answer() == "second"
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
    serve: Any, say: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Home Assistant closes without audio-stop, even with a reset: nothing but debug in the log."""
    one = await serve()
    client = await one.connect()
    await client.send(*say())
    (await one.utterance()).hear("done")
    await client.read_answer()
    client.writer.transport.abort()
    await (await one.utterance()).closed.wait()
    other = await one.connect()
    await other.alive()
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG, logging.INFO}


async def test_partial_text(serve: Any, say: Any) -> None:
    """Order: transcript-start, chunks, transcript, transcript-stop; nothing after the answer."""
    one = await serve()
    client = await one.connect()
    await client.send(*say())
    utterance = await one.utterance()
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


async def test_an_error_is_never_a_transcript(serve: Any, say: Any) -> None:
    """Flux's failure becomes an error event with its code; the connection stays usable."""
    one = await serve()
    client = await one.connect()
    await client.send(*say())
    (await one.utterance()).fail(AuthFailed("The token is wrong."))
    assert await client.read_error() == ("auth", "The token is wrong.")
    assert await one.outcome() == "auth"
    await client.send(chunk(), STOP, *say(stop=True))
    (await one.utterance(2)).hear("now it works")
    assert await client.read_answer() == "now it works"


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        (
            {"language": "de"},
            "unsupported-language",
            "does not know the language 'de'; it knows en.",
        ),
        ({"language": 3}, "invalid-event", "language must be a text, not 3."),
        ({"language": 10**30}, "invalid-event", "not a huge number."),
        ({"name": ["x"]}, "invalid-event", "name must be a text, not a list."),
        ({"vad_sensitivity": "high"}, "invalid-event", "relaxed, default, aggressive, not 'high'."),
        ({"vad_sensitivity": {}}, "invalid-event", "vad_sensitivity must be one of"),
        (
            {"transcript_names": "Ecobee"},
            "invalid-event",
            "transcript_names must be a list of texts.",
        ),
        ({"transcript_terms": [1]}, "invalid-event", "transcript_terms must be a list of texts."),
    ],
)
async def test_a_refused_transcribe_is_answered_once(
    serve: Any, say: Any, fields: dict[str, Any], code: str, says: str
) -> None:
    """One error; its audio starts nothing; the next turn works."""
    one = await serve()
    client = await one.connect()
    refused = Event("transcribe", fields)
    await client.send(refused, *say(transcribe=False, stop=True))
    got, text = await client.read_error()
    assert got == code
    assert says in text
    await client.alive()
    assert one.utterances == []
    await client.send(*say(language="en-US", stop=True))
    (await one.utterance()).hear("yes")
    assert await client.read_answer() == "yes"


async def test_a_refusal_waits_for_the_answer_before_it(serve: Any, say: Any) -> None:
    """The error of the second turn does not come in front of the transcript of the first."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(stop=True), *say(language="xx", stop=True), *say(stop=True))
    (await one.utterance()).hear("first")
    assert await client.read_answer() == "first"
    assert (await client.read_error())[0] == "unsupported-language"
    (await one.utterance(2)).hear("third")
    assert await client.read_answer() == "third"


@pytest.mark.parametrize(
    ("form", "code", "says"),
    [
        ({"rate": 7000}, "invalid-audio", "7000"),
        ({"width": 5}, "invalid-audio", "width of 5"),
        ({"channels": 9}, "invalid-audio", "9 channels"),
        ({"channels": 0}, "invalid-audio", "0 channels"),
        ({"rate": 10**40}, "invalid-audio", "1000"),
        (
            {"rate": "16000"},
            "invalid-event",
            "needs rate as a whole number, not '16000'.",
        ),
        ({"rate": True}, "invalid-event", "not True"),
        ({"rate": None}, "invalid-event", "not nothing"),
        ({"width": 2.0}, "invalid-event", "not 2.0"),
        ({"channels": [1]}, "invalid-event", "not a list"),
    ],
)
async def test_a_format_that_cannot_be_converted(
    serve: Any, form: dict[str, Any], code: str, says: str
) -> None:
    """One clear sentence, whether audio-start says it or the first chunk."""
    one = await serve()
    client = await one.connect()
    await client.send(
        Transcribe().event(), Event("audio-start", {**FORM, **form}), chunk(), chunk(), STOP
    )
    got, text = await client.read_error()
    assert got == code
    assert says in text
    await client.alive()
    other = await one.connect()
    await other.send(Event("audio-chunk", {**FORM, **form}, PCM), chunk(), STOP)
    assert (await other.read_error())[0] == code
    await other.alive()


@pytest.mark.parametrize(
    "other", [{"rate": 44100}, {"width": 4}, {"channels": 2}, {"rate": "16000"}, {"rate": 10**30}]
)
async def test_a_chunk_that_contradicts_its_start(serve: Any, say: Any, other: Any) -> None:
    """One clear sentence, Flux is closed, the rest of the audio is discarded."""
    one = await serve()
    client = await one.connect()
    await client.send(*say())
    utterance = await one.utterance()
    await utterance.heard(2560)
    await client.send(Event("audio-chunk", {**FORM, **other}, PCM), chunk(), STOP)
    code, text = await client.read_error()
    assert code == "invalid-audio"
    assert "contradicts its audio-start" in text
    assert len(text) < 200
    await utterance.closed.wait()
    await client.alive()
    assert await one.outcome() == "invalid-audio"


async def test_audio_without_start_begins_a_turn(serve: Any) -> None:
    """A chunk brings its format along; without transcribe, with transcribe."""
    one = await serve()
    client = await one.connect()
    for number, begin in ((1, []), (2, [Transcribe().event()])):
        await client.send(*begin, chunk(), STOP)
        utterance = await one.utterance(number)
        await utterance.ended.wait()
        assert bytes(utterance.received) == PCM
        utterance.hear("heard")
        assert await client.read_answer() == "heard"


async def test_audio_without_start_waits_its_turn(serve: Any, say: Any) -> None:
    """Such audio, too, waits while two utterances before it are to be answered."""
    one = await serve()
    client = await one.connect()
    await client.send(
        *say(stop=True), *say(stop=True), Transcribe().event(), chunk(b"\3\3" * 1600), STOP
    )
    for number in (1, 2, 3):
        utterance = await one.utterance(number)
        await utterance.ended.wait()
        utterance.hear(f"number {number}")
        assert await client.read_answer() == f"number {number}"
    assert bytes(one.utterances[2].received) == b"\3\3" * 1600


async def test_chunks_without_format_take_that_of_the_start(serve: Any) -> None:
    """What is left out contradicts nothing; an empty chunk is nothing."""
    one = await serve()
    client = await one.connect()
    await client.send(START, Event("audio-chunk", {}, PCM), Event("audio-chunk", {}), STOP)
    utterance = await one.utterance()
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


async def test_a_client_that_takes_its_time(serve: Any, say: Any) -> None:
    """Audio that begins after the empty answer to its transcribe is heard, with its settings."""
    one = await serve()
    client = await one.connect()
    await client.send(Transcribe(vad_sensitivity="relaxed").event())
    (await one.utterance()).hear("", Trigger.NO_AUDIO)
    assert await client.read_answer() == ""
    await client.send(*say(transcribe=False, stop=True))
    second = await one.utterance(2)
    assert second.settings.sensitivity == "relaxed"
    second.hear("late")
    assert await client.read_answer() == "late"


async def test_what_is_unknown_is_ignored(serve: Any) -> None:
    """Unknown events, select-program among them, and unknown fields do no harm."""
    one = await serve()
    client = await one.connect()
    await client.send(
        Event("select-program", {"name": "x"}),
        Event("unheard-of", {"a": [1]}, b"payload"),
        Event("transcribe", {"context": {"a": 1}, "name": "another-model", "new": True}),
    )
    await one.utterance()
    await client.alive()


async def test_ping_wants_a_text(serve: Any) -> None:
    """Ping without text gets pong without; anything else is said to be wrong."""
    one = await serve()
    client = await one.connect()
    await client.send(Event("ping"), Event("ping", {"text": 1}))
    assert (await client.read_type("pong")).data == {"text": None}
    assert await client.read_error() == ("invalid-event", "text must be a text, not 1.")
    await client.alive()


async def test_info(serve: Any) -> None:
    """The describe answer, as the library reads it."""
    one = await serve(name="kitchen", external_vad=True, flux=FluxSettings())
    async with one.library_client() as client:
        await client.write_event(Describe().event())
        event = await client.read_event()
    assert event is not None
    (program,) = Info.from_event(event).asr
    assert (program.name, program.installed, program.version) == ("kitchen", True, "0.1.0")
    assert program.requires_external_vad
    assert program.supports_transcript_streaming
    assert not program.prefers_auto_gain_enabled
    assert not program.prefers_noise_reduction_enabled
    (model,) = program.models
    assert model.installed
    assert {"en", "en-US", "en-GB"} <= set(model.languages)
    assert "Cloudflare" in program.attribution.name
    assert model.attribution.name == "Deepgram"


async def test_info_by_default(serve: Any) -> None:
    """Home Assistant is told that Flux detects the end of speech itself."""
    one = await serve(
        flux=FluxSettings(model="flux-general-multi"), endpoint="wss://api.deepgram.com/v2/listen"
    )
    client = await one.connect()
    await client.send(Describe().event())
    (program,) = Info.from_event(await client.read_type("info")).asr
    assert program.name == "flux"
    assert not program.requires_external_vad
    assert program.attribution.name == "Deepgram"
    assert {"en", "de", "de-DE", "pt-BR"} <= set(program.models[0].languages)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [(None, "nl"), ("", "nl"), ("de", "de"), ("DE_at", "de"), ("pt-XX", "pt"), ("en-GB", "en")],
)
async def test_language_of_the_multilingual_model(
    serve: Any, say: Any, asked: str | None, sent: str
) -> None:
    """A language, with any region, reaches Flux; none leaves the configured one."""
    flux = FluxSettings(model="flux-general-multi", language="nl")
    one = await serve(flux=flux, endpoint="wss://api.deepgram.com/v2/listen")
    client = await one.connect()
    await client.send(*say(language=asked))
    assert (await one.utterance()).settings.language == sent


async def test_settings_of_the_event(serve: Any, say: Any) -> None:
    """Sensitivity wins over the preset; names rank above terms, terms above configured ones."""
    flux = FluxSettings(sensitivity="relaxed", keyterms=("Nabu", "porch"), eager_eot_threshold=0.8)
    one = await serve(flux=flux, keyterms=lambda: ["Attic", "nabu"])
    client = await one.connect()
    names = ["Ecobee", " ecobee "]
    await client.send(
        *say(vad_sensitivity="aggressive", transcript_names=names, transcript_terms=["lamp"])
    )
    settings = (await one.utterance()).settings
    assert settings.keyterms == ("Ecobee", "lamp", "Nabu", "porch", "Attic")
    assert settings.effective_eot_threshold == 0.6
    assert settings.eager_eot_threshold == 0.6
    other = await one.connect()
    await other.send(*say(language="en"))
    settings = (await one.utterance(2)).settings
    assert settings.keyterms == ("Nabu", "porch", "Attic")
    assert settings.eager_eot_threshold == 0.8
    assert settings.language is None


async def test_explicit_thresholds_win_over_the_event(serve: Any, say: Any) -> None:
    """What was configured in numbers stays, and with it the eager threshold."""
    one = await serve(flux=FluxSettings(eot_threshold=0.9, eager_eot_threshold=0.8))
    client = await one.connect()
    await client.send(*say(vad_sensitivity="aggressive"))
    settings = (await one.utterance()).settings
    assert settings.effective_eot_threshold == 0.9
    assert settings.eager_eot_threshold == 0.8
    assert settings.effective_eot_timeout_ms == 1000


async def test_cut_key_terms_are_logged_once(
    serve: Any, say: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning with numbers, not at every turn; never the names."""
    one = await serve()
    client = await one.connect()
    names = [f"Name{number}" for number in range(150)]
    for number in (1, 2):
        await client.send(*say(transcript_names=names))
        assert len((await one.utterance(number)).settings.keyterms) == 100
    said = [record for record in caplog.records if "key terms" in record.message]
    assert len(said) == 1
    assert "50" in said[0].message
    assert "Name" not in caplog.text


async def test_other_formats_are_converted(serve: Any, say: Any) -> None:
    """44.1 kHz stereo, 24 bit, becomes 16 kHz mono; the format may differ in each turn."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(bytes(44100 * 6), rate=44100, width=3, channels=2, stop=True))
    first = await one.utterance()
    await first.ended.wait()
    assert bytes(first.received) == bytes(32000)
    first.hear("stereo")
    assert await client.read_answer() == "stereo"
    await client.send(*say(b"\x80" * 8000, rate=8000, width=1, stop=True))
    second = await one.utterance(2)
    await second.ended.wait()
    assert bytes(second.received) == bytes(32000)


async def test_back_pressure(serve: Any, say: Any) -> None:
    """While the transcriber takes nothing, reading stops; then all arrives; answers still come."""
    one = await serve(limits=Limits(tick=0.02, unsent_audio=10_000))
    client = await one.connect()
    await client.send(*say(PCM))
    utterance = await one.utterance()
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


async def test_a_result_comes_through_back_pressure(serve: Any, say: Any) -> None:
    """The answer is written while reading is paused, and the rest is then discarded."""
    one = await serve(limits=Limits(tick=0.02, unsent_audio=10_000))
    client = await one.connect()
    await client.send(*say(PCM))
    utterance = await one.utterance()
    utterance.room.clear()
    await utterance.heard(2560)
    chunks = [chunk(bytes(64_000)) for _ in range(25)]
    sending = asyncio.create_task(client.send(*chunks, STOP))
    utterance.hear("enough")
    assert await client.read_answer() == "enough"
    await sending
    await client.alive()


async def test_a_disconnect_is_noticed_through_back_pressure(serve: Any, say: Any) -> None:
    """A client that leaves while its audio waits unread costs nothing any more."""
    one = await serve(limits=Limits(tick=0.02, unsent_audio=10_000))
    client = await one.connect()
    await client.send(*say(PCM))
    utterance = await one.utterance()
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
    (await one.utterance()).hear("first")
    assert await client.read_answer() == "first"
    await sending
    second = await one.utterance(2)
    await second.ended.wait()
    assert bytes(second.received) == pcm


async def test_frames_do_not_wait_for_the_next_chunk(serve: Any) -> None:
    """However chunks and frames of 80 ms lie, a whole frame is passed on when it is there."""
    one = await serve()
    client = await one.connect()
    await client.send(START)
    utterance = await one.utterance()
    pcm = bytes(range(256)) * 8
    for count in range(1, 11):
        await client.send(chunk(pcm))
        await client.alive()
        whole = count * 2048 // 2560 * 2560
        assert len(await utterance.heard(whole)) >= whole


async def test_a_lost_way_to_flux_while_sending(serve: Any, say: Any) -> None:
    """An error that shows while audio is sent is the turn's, and is said once."""
    one = await serve()
    client = await one.connect()
    await client.send(START)
    utterance = await one.utterance()
    utterance.send = raising(ConnectionLost("The connection to Flux broke."))
    await client.send(chunk(), chunk())
    assert await client.read_error() == ("connection-lost", "The connection to Flux broke.")
    await utterance.closed.wait()
    await client.send(chunk(), STOP)
    await client.alive()


async def test_a_turn_that_is_cancelled_is_answered_too(serve: Any, say: Any) -> None:
    """Should anything cancel a turn behind our back, its client is not left waiting."""
    one = await serve()
    client = await one.connect()
    await client.send(*say())
    (await one.utterance())._outcome.cancel()
    assert (await client.read_error())[0] == "internal"
    await client.send(STOP)
    await client.alive()


async def test_two_faults_of_one_turn_are_one_error(serve: Any, say: Any) -> None:
    """A second reason to fail, while the first is being said, adds nothing."""
    one = await serve()
    client = await one.connect()
    await client.send(
        Event("transcribe", {"language": 1}), Event("audio-start", {"rate": 1}), chunk(), STOP
    )
    assert (await client.read_error())[0] == "invalid-event"
    await client.alive()


async def test_the_turn_is_one_line_in_the_log(
    serve: Any, say: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One INFO line with numbers, never the text."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(bytes(32000), stop=True))
    utterance = await one.utterance()
    await utterance.ended.wait()
    utterance.note(after_audio_ms=312.4, endpoint="flux.example")
    utterance.partial("open sesame")
    utterance.hear("open sesame", Trigger.END_OF_TURN)
    await client.read_type("transcript-start")
    await one.report()
    (line,) = [r for r in caplog.records if r.message.startswith("Utterance")]
    assert line.levelno == logging.INFO
    assert line.message == (
        "Utterance 1: end-of-turn, audio 1.00 s, connect 5 ms, answer 312 ms,"
        " after speech -, endpoint flux.example, attempts 1, missing 0.0 s, characters 11"
    )
    assert "sesame" not in caplog.text


async def test_a_failure_says_host_cause_and_what_was_tried(
    serve: Any, say: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has host, cause, the error's own sentence, and why what came before did not work."""
    one = await serve()
    client = await one.connect()
    await client.send(*say())
    utterance = await one.utterance()
    refused, wrong = "connection refused", "The token is wrong; make a new one."
    utterance.note(faults=(refused, refused, wrong))
    utterance.fail(AuthFailed(wrong))
    await client.read_error()
    await one.report()
    (line,) = [r for r in caplog.records if r.message.startswith("Utterance")]
    assert line.message.startswith("Utterance 1: auth, ")
    assert "endpoint 127.0.0.1" in line.message
    assert line.message.endswith(
        ": The token is wrong; make a new one. before that: connection refused"
    )


async def test_a_fault_of_the_endpoint_is_a_warning_once_until_it_changes(
    serve: Any, say: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Not one warning per sentence; what to do is in it, and its end is told as well."""
    caplog.set_level("INFO")
    one = await serve()
    client = await one.connect()
    wrong, gone = AuthFailed("wrong token", status=401), Unreachable("nobody is there")
    for number, outcome in enumerate((wrong, wrong, gone, wrong, None, None, wrong), 1):
        await client.send(*say(stop=True))
        utterance = await one.utterance(number)
        if outcome is None:
            utterance.hear("on")
            await client.read_answer()
        else:
            utterance.fail(outcome)
            await client.read_error()
        await one.report(number)
    said = [r for r in caplog.records if r.name.endswith("standing")]
    assert [r.message.partition(")")[0].partition("(")[2] for r in said] == [
        *("auth", "unreachable", "auth", "", "auth")
    ]
    assert "Make a new token" in said[0].message
    assert said[3].message.endswith("answers again")
    warned = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert warned == [r for r in said if r is not said[3]], "that it works again is no warning"


async def test_the_line_has_the_time_after_the_last_word(
    serve: Any, caplog: pytest.LogCaptureFixture, spoken: Any
) -> None:
    """Silence that follows the speech counts: a microphone stays open until the answer."""
    one = await serve()
    client = await one.connect()
    # In one chunk: what was spoken when is known from the audio.
    await client.send(START, chunk(spoken(0.1, 0.4, 0.5)), STOP)
    utterance = await one.utterance()
    await utterance.ended.wait()
    utterance.hear("on", Trigger.END_OF_TURN)
    await client.read_answer()
    await one.report()
    (line,) = [r for r in caplog.records if r.message.startswith("Utterance")]
    after = float(re.search(r"after speech (\d+) ms", line.message)[1])  # type: ignore[index]
    assert 480 <= after <= 3000
    assert line.utterance["after_speech_ms"] == pytest.approx(after, abs=1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer_on", ["end-of-turn", "audio-stop"])
async def test_what_is_known_to_be_incomplete(
    serve: Any, say: Any, caplog: pytest.LogCaptureFixture, answer_on: Any
) -> None:
    """Half a command is never carried out; half a dictation is better than none, with a warning."""
    one = await serve(turn=UtteranceSettings(answer_on=answer_on))
    client = await one.connect()
    await client.send(*say(stop=True))
    (await one.utterance()).hear("turn on the", Trigger.AUDIO_STOP, missing=1.25)
    if answer_on == "end-of-turn":
        assert (await client.read_error())[0] == "connection-lost"
        assert await one.outcome() == "connection-lost"
    else:
        assert await client.read_answer() == "turn on the"
        assert await one.outcome() == "audio-stop"
    assert (await one.report()).missing == 1.25
    (line,) = [r for r in caplog.records if r.message.startswith("Utterance")]
    assert line.levelno == logging.WARNING
    assert "missing 1.2 s" in line.message


@pytest.mark.parametrize("strays", [1, 3])
async def test_a_chunk_after_audio_stop_begins_nothing(serve: Any, say: Any, strays: int) -> None:
    """It opens no second connection and gets no answer, before the transcript and after it."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(stop=True), *[chunk()] * strays)
    utterance = await one.utterance()
    utterance.hear("done")
    assert await client.read_answer() == "done"
    await client.send(*[chunk()] * strays, STOP, chunk())
    await client.alive()
    assert len(one.utterances) == 1
    # What was meant to begin one still does.
    await client.send(*say(stop=True))
    await one.utterance(2)


async def test_debug_logs_the_text(serve: Any, say: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Only who asks for it gets transcripts in the log."""
    one = await serve(debug=True)
    client = await one.connect()
    await client.send(*say())
    (await one.utterance()).hear("open sesame")
    await client.read_answer()
    assert "open sesame" in caplog.text


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
