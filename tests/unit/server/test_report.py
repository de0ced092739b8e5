"""What is told of an utterance afterwards: one line in the log, a warning where one helps."""

import logging
import re
from typing import Any

import pytest

from wyoming_flux.errors import AuthFailed, Unreachable
from wyoming_flux.settings import UtteranceSettings
from wyoming_flux.utterance import Trigger

from .conftest import START, STOP, chunk


@pytest.mark.parametrize("debug", [False, True])
async def test_the_turn_is_one_line_in_the_log(
    speaking: Any, say: Any, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    """One INFO line with numbers; the text, in a line of its own, for who asks for it alone."""
    one, client, utterance = await speaking(*say(bytes(32000), stop=True), debug=debug)
    await utterance.ended.wait()
    utterance.note(after_audio_ms=312.4, endpoint="flux.example")
    utterance.partial("open sesame")
    utterance.hear("open sesame", Trigger.END_OF_TURN)
    await client.read_type("transcript-start")
    await one.report()
    said = [r for r in caplog.records if r.message.startswith("Utterance")]
    (line,) = [r for r in said if r.levelno == logging.INFO]
    assert line.message == (
        "Utterance 1: end-of-turn, audio 1.00 s, connect 5 ms, answer 312 ms,"
        " after speech -, endpoint flux.example, attempts 1, missing 0.0 s, characters 11"
    )
    assert ("open sesame" in caplog.text) is debug


async def test_a_failure_says_host_cause_and_what_was_tried(
    speaking: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has host, cause, the error's own sentence, and why what came before did not work."""
    one, client, utterance = await speaking()
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


async def test_what_a_fallback_did_wrong_is_not_told_of_the_endpoint(
    speaking: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own fault is told with what to do about it; that of the other is in the turn's line."""
    one, client, utterance = await speaking()
    gone, wrong = Unreachable("nobody is there"), AuthFailed("flux.example: the token is wrong")
    utterance.note(causes=(("127.0.0.1:1", gone), ("flux.example", wrong)))
    utterance.fail(wrong)
    assert (await client.read_error())[0] == "auth"
    await one.report()
    (told,) = [r for r in caplog.records if r.name.endswith("standing")]
    assert told.message.startswith("No text from Flux at 127.0.0.1:1 (unreachable)")
    (line,) = [r for r in caplog.records if r.message.startswith("Utterance")]
    assert line.levelno == logging.INFO
    assert "flux.example: the token is wrong" in line.message


async def test_a_fallback_that_alone_was_asked_is_not_taken_for_the_endpoint(
    speaking: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is told of the endpoint; the turn's line is the warning."""
    one, client, utterance = await speaking()
    wrong = AuthFailed("flux.example: the token is wrong")
    utterance.note(causes=(("flux.example", wrong),))
    utterance.fail(wrong)
    await client.read_error()
    await one.report()
    assert not [r for r in caplog.records if r.name.endswith("standing")]
    (line,) = [r for r in caplog.records if r.message.startswith("Utterance")]
    assert line.levelno == logging.WARNING


async def test_a_fault_of_the_endpoint_is_a_warning_once_until_it_changes(
    serve: Any, say: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Not one warning per sentence; what to do is in it, and its end is told as well."""
    caplog.set_level("INFO")
    one = await serve()
    client = await one.connect()
    wrong, gone = AuthFailed("wrong token", status=401), Unreachable("nobody is there")
    # A turn without audio is answered without anybody's being asked.
    for number, outcome in enumerate((wrong, "", wrong, gone, wrong, "on", "on", wrong), 1):
        await client.send(*say(stop=True))
        utterance = await one.utterance(number)
        if isinstance(outcome, str):
            utterance.note(endpoint="127.0.0.1:1" if outcome else None)
            utterance.hear(outcome)
            await client.read_answer()
        else:
            utterance.fail(outcome)
            await client.read_error()
        await one.report(number)
    said = [r for r in caplog.records if r.name.endswith("standing")]
    assert [r.message.partition(")")[0].partition("(")[2] for r in said] == [
        *("auth", "unreachable", "auth", "", "auth")
    ]
    assert "No token was given" in said[0].message
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
    speaking: Any, say: Any, caplog: pytest.LogCaptureFixture, answer_on: Any
) -> None:
    """Half a command is never carried out; half a dictation is better than none, with a warning."""
    one, client, utterance = await speaking(
        *say(stop=True), turn=UtteranceSettings(answer_on=answer_on)
    )
    utterance.hear("turn on the", Trigger.AUDIO_STOP, missing=1.25)
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
