"""One utterance against the simulator, in virtual time: the rows of the turn table."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wyoming_flux.errors import ConnectionLost, WyomingFluxError
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator.faults import Fault, parse
from wyoming_flux.simulator.script import ScriptedTurn
from wyoming_flux.utterance import Report, Transcriber, Transcript, Trigger

PROOF = 3
"""Frames of silence before a control message whose effect is to be proven."""
TEXT = "turn on the living room light"


class Turn:
    """What one turn gave."""

    outcome: Transcript | WyomingFluxError
    at: float
    partials: str
    report: Report


async def take_turn(
    connector: Any,
    audio: bytes,
    *,
    settings: FluxSettings | None = None,
    turn: UtteranceSettings | None = None,
    pace: float = 1.0,
    stop: bool = True,
    chunk: float = 0.01,
    gap: tuple[float, float] | None = None,
) -> Turn:
    """Stream audio as a satellite does: ``pace`` times real time, 0: at once."""
    settings = settings or FluxSettings()
    loop = asyncio.get_running_loop()
    result = Turn()
    shown: list[str] = []
    size = int(settings.sample_rate * chunk) * 2

    async def stream(transcriber: Transcriber) -> None:
        due = loop.time()
        for start in range(0, len(audio), size):
            if gap is not None and start / 2 / settings.sample_rate <= gap[0] < (
                (start + size) / 2 / settings.sample_rate
            ):
                due += gap[1]
            await transcriber.send(audio[start : start + size])
            if pace:
                due += chunk / pace
                await asyncio.sleep(max(0.0, due - loop.time()))
        if stop:
            transcriber.end()

    async with Transcriber(
        [connector], settings, turn or UtteranceSettings(), on_partial=shown.append
    ) as transcriber:
        streaming = asyncio.create_task(stream(transcriber))
        try:
            result.outcome = await transcriber.result()
        except WyomingFluxError as err:
            result.outcome = err
        result.at = loop.time()
        streaming.cancel()
        await asyncio.wait([streaming])
    result.partials = "".join(shown)
    result.report = transcriber.report
    return result


Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]


def faults(*texts: str) -> list[Fault]:
    """Read faults as the command line writes them."""
    return [parse(text) for text in texts]


def test_early_answer_while_streaming(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """The transcript comes on EndOfTurn, 320 ms after the last voice, while audio still flows."""
    connector = memory_connector()
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 10.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    assert turn.at == pytest.approx(0.3 + 2.0 + 0.32, abs=0.12)
    assert turn.partials == TEXT
    assert turn.report.attempts == 1
    assert connector.service.connections[0].controls


@pytest.mark.parametrize("profile", ["workers-ai", "deepgram"])
def test_audio_stop_first(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, profile: str
) -> None:
    """A client that ends after the last word gets all of it: by silence alone, then by a control.

    What the control does is proven after the first answer, before the connection is closed.
    """
    connector = memory_connector(profile=profile, route=profile)
    audio = spoken(0.3, 2.0, 0.05)
    first = run_virtual(lambda: take_turn(connector, audio))
    assert first.outcome == Transcript(TEXT, Trigger.AUDIO_STOP)
    assert first.at <= 2.35 + 0.9
    second = run_virtual(lambda: take_turn(connector, audio))
    assert second.outcome == Transcript(TEXT, Trigger.AUDIO_STOP)
    assert second.at <= 2.35 + 0.5
    proven = "ForceEndTurn" if profile == "deepgram" else "CloseStream"
    for connection in connector.service.connections[:2]:
        assert [one["type"] for one in connection.controls] == [proven]
        assert not connection.mistakes


@pytest.mark.parametrize("answer_on", ["end-of-turn", "audio-stop"])
def test_whole_file_at_once(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, answer_on: Any
) -> None:
    """A file of several turns that is sent at once loses nothing, however long it is."""
    texts = ["open the door", "close the window", "good night"]
    connector = memory_connector(script=texts)
    audio = spoken(0.3, 1.0, 1.0, 1.0, 9.0, 1.0, 0.2)
    turn = run_virtual(
        lambda: take_turn(connector, audio, pace=0, turn=UtteranceSettings(answer_on=answer_on))
    )
    assert turn.outcome == Transcript(" ".join(texts), Trigger.AUDIO_STOP)


def test_dictation_in_real_time(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """With answer_on audio-stop, all turns until the client ends are the answer."""
    connector = memory_connector(script=["open the door", "close the window"])
    turn = run_virtual(
        lambda: take_turn(
            connector,
            spoken(12.0, 1.0, 25.0, 1.0, 1.0),
            turn=UtteranceSettings(answer_on="audio-stop"),
        )
    )
    assert turn.outcome == Transcript("open the door close the window", Trigger.AUDIO_STOP)


def test_frames_are_short_once_the_turn_may_end(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames have 80 ms until there is text, then 20 ms; and the grid of 80 ms is kept."""
    connector = memory_connector()
    frames: list[int] = []
    connect = connector.connect

    async def record(settings: FluxSettings) -> Any:
        connection = await connect(settings)
        send = connection.send_audio

        async def send_audio(pcm: bytes) -> None:
            frames.append(len(pcm))
            await send(pcm)

        connection.send_audio = send_audio
        return connection

    monkeypatch.setattr(connector, "connect", record)
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 5.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    short = frames.index(640)
    assert set(frames[:short]) == {2560}
    assert set(frames[short:-PROOF]) == {640}
    assert short >= 5


def test_empty_end_of_turn(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """An EndOfTurn without text, as seen on Workers AI, takes the last text of its turn."""
    connector = memory_connector(faults=faults("empty-end"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 5.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)


def test_wake_phrase_alone_is_ignored(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """A first turn that is only a wake phrase is no command; the next turn is."""
    connector = memory_connector(script=["Okay, Nabu.", TEXT])
    turn = run_virtual(lambda: take_turn(connector, spoken(0.1, 0.5, 1.0, 1.5, 5.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    assert turn.partials == TEXT


def test_wake_phrase_in_front_is_cut(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """A wake phrase before the command is cut off, in the partial text, too."""
    connector = memory_connector(script=["Hey Jarvis, " + TEXT])
    turn = run_virtual(lambda: take_turn(connector, spoken(0.1, 2.5, 5.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    assert turn.partials == TEXT


def test_no_speech(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """Eight seconds without a word give an empty transcript, no error."""
    turn = run_virtual(lambda: take_turn(memory_connector(), spoken(30.0)))
    assert turn.outcome == Transcript("", Trigger.NO_SPEECH)
    assert turn.at == pytest.approx(8.0, abs=0.6)


def test_no_audio_before_text(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """A client that stops sending before any text gets an empty transcript after 5 s."""
    turn = run_virtual(lambda: take_turn(memory_connector(), spoken(0.5), stop=False))
    assert turn.outcome == Transcript("", Trigger.NO_AUDIO)
    assert 5.5 <= turn.at <= 5.5 + 1.0


def test_no_audio_at_all(run_virtual: Virtual, memory_connector: Any) -> None:
    """A client that ends without audio gets an empty transcript at once."""
    turn = run_virtual(lambda: take_turn(memory_connector(), b""))
    assert turn.outcome == Transcript("", Trigger.AUDIO_STOP)
    assert turn.at == 0


def test_client_falls_silent_in_a_turn(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """When audio stops after text began, three seconds are waited for more; then it has ended."""
    turn = run_virtual(lambda: take_turn(memory_connector(), spoken(0.3, 2.0), stop=False))
    assert turn.outcome == Transcript(TEXT, Trigger.NO_AUDIO)
    assert 2.3 + 3.0 <= turn.at <= 2.3 + 3.0 + 1.0


def test_short_gap_puts_no_silence_inside_a_word(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """A Wi-Fi gap below three seconds is bridged by waiting: the text stays whole."""
    connector = memory_connector()
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 5.0), gap=(1.2, 2.9)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    audio = bytes(connector.service.connections[0].audio)
    assert spoken(0.3, 2.0, 5.0).startswith(audio)


def test_unfinished_text_ends_after_three_seconds_without_audio(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """Where even silence ends nothing, the turn is finalised after 3 s without audio."""
    connector = memory_connector(script=[ScriptedTurn.of("turn on the", unfinished=True)])
    settings = FluxSettings(eot_timeout_ms=60000)
    turn = run_virtual(
        lambda: take_turn(connector, spoken(0.3, 1.5), stop=False, settings=settings)
    )
    assert turn.outcome == Transcript("turn on the", Trigger.NO_AUDIO)
    assert 1.8 + 3.0 <= turn.at <= 1.8 + 4.5


def test_longest_turn(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """A turn that does not end is finalised after max_turn of audio."""
    connector = memory_connector(script=["blah " * 60])
    turn = run_virtual(
        lambda: take_turn(connector, spoken(0.3, 40.0), turn=UtteranceSettings(max_turn=10.0))
    )
    assert turn.outcome.trigger is Trigger.MAX_TURN
    assert turn.outcome.text
    assert turn.at <= 12.0


def test_lost_in_speech_gives_the_same_text(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """A connection dropped in the middle of speech is replaced, and nothing is missing."""
    connector = memory_connector(faults=faults("drop:after=1.5,connection=1"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 8.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    assert turn.report.attempts == 2


def test_lost_after_audio_stop_with_a_backlog(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """A file sent at once is heard to its end though the connection breaks in the middle."""
    connector = memory_connector(faults=faults("drop:after=1.5,connection=1"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 0.3), pace=0))
    assert turn.outcome == Transcript(TEXT, Trigger.AUDIO_STOP)


def test_lost_for_good(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """After two replacements: the text, and how much is missing in it, or the error."""
    connector = memory_connector(faults=faults("drop:after=1.5"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 5.0, 8.0)))
    assert turn.outcome.trigger is Trigger.CONNECTION_LOST
    assert turn.outcome.text.startswith("turn")
    assert turn.outcome.missing > 0.5
    with pytest.raises(ConnectionLost):
        turn.outcome.whole()
    silent = memory_connector(faults=faults("drop:after=0.1"))
    turn = run_virtual(lambda: take_turn(silent, spoken(3.0, 2.0)))
    assert turn.outcome.code == "connection-lost"
    assert len(silent.service.connections) == 4


def test_stall_is_a_lost_connection(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """Flux that takes audio and says nothing for 2.5 s is replaced."""
    connector = memory_connector(faults=faults("stall:after=1.5,connection=1"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 20.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    assert turn.at <= 1.5 + 2.5 + 0.5 + 2.5 / 1.25 + 1.0


@pytest.mark.parametrize(
    "fault", ["connect-late:seconds=2,connection=1", "connected-late:seconds=1.5"]
)
def test_slow_beginning_loses_nothing(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, fault: str
) -> None:
    """Audio that came before the socket was open is all sent, in order."""
    connector = memory_connector(faults=faults(fault))
    audio = spoken(0.1, 2.0, 8.0)
    turn = run_virtual(lambda: take_turn(connector, audio))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    assert audio.startswith(bytes(connector.service.connections[0].audio))


def test_retryable_refusals_back_off(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """Overload is waited for with growing pauses; no audio is lost meanwhile."""
    connector = memory_connector(
        faults=faults(*(f"refuse:status=503,connection={n}" for n in (1, 2, 3)))
    )
    turn = run_virtual(lambda: take_turn(connector, spoken(0.1, 3.0, 8.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    assert turn.report.attempts == 4


def test_refusals_without_end(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """An endpoint that stays overloaded gives its error within the bound for faults."""
    connector = memory_connector(faults=faults("refuse:status=503"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.1, 3.0, 20.0)))
    assert turn.outcome.code == "unreachable"
    assert turn.at <= 8.0
    assert len(connector.service.connections) == 4


def test_endpoint_that_never_answers(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """No attempt has a timer of its own, but all together have 8 s; a second one is beside it."""
    connector = memory_connector(faults=faults("connect-late:seconds=60"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.1, 3.0, 20.0)))
    assert turn.outcome.code == "timeout"
    assert turn.at == pytest.approx(8.0, abs=0.3)
    assert turn.report.attempts == 2


def test_slow_handshake(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """A handshake of 3.5 s or 5 s costs that time, and not a word."""
    for seconds in (3.5, 5.0):
        connector = memory_connector(faults=faults(f"connect-late:seconds={seconds}"))
        turn = run_virtual(lambda c=connector: take_turn(c, spoken(0.1, 2.0, 20.0)))
        assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
        assert turn.at <= seconds + 3.0


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("refuse:status=401,code=10000", "auth"),
        ("refuse:status=429,code=3036", "quota"),
        ("refuse:status=403,code=5035", "payment"),
        ("refuse:status=404,body=nothing here", "endpoint-not-found"),
    ],
)
def test_final_refusal(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, fault: str, code: str
) -> None:
    """A refusal that no retry can change is told at once, with its own code."""
    turn = run_virtual(lambda: take_turn(memory_connector(faults=faults(fault)), spoken(0.1, 1.0)))
    assert turn.outcome.code == code
    assert turn.at < 0.1


def test_refused_parameters_are_dropped(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, caplog: Any
) -> None:
    """Thresholds that are refused are left out, and told; key terms stay."""
    caplog.set_level("INFO")
    connector = memory_connector(faults=faults("refuse:status=500,code=5030,connection=1"))
    settings = FluxSettings(keyterms=("living room",))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.1, 2.0, 5.0), settings=settings))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)
    assert dict(connector.service.connections[1].query).keys() == {
        "encoding",
        "sample_rate",
        "keyterm",
    }
    assert len([one for one in caplog.records if "eot_timeout_ms" in one.message]) == 1
    assert not [one for one in caplog.records if one.levelname == "WARNING"], "once is no proof"


def test_garbage_only(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """What speaks WebSocket but not Flux is called that."""
    connector = memory_connector(faults=faults("stall", "garbage"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.1, 2.0, 20.0)))
    assert turn.outcome.code in ("not-flux", "timeout")


@pytest.mark.parametrize(
    "fault", ["duplicate-end", "late-end", "jitter:seconds=0.2", "garbage:after=1"]
)
def test_harmless_faults(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, fault: str
) -> None:
    """Repeated, late or odd messages change nothing."""
    turn = run_virtual(
        lambda: take_turn(memory_connector(faults=faults(fault)), spoken(0.3, 2.0, 8.0))
    )
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)


def test_fault_message(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """Flux's own Error in the middle of speech is a lost connection."""
    connector = memory_connector(faults=faults("error:after=1.5,connection=1"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 8.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)


def test_slow_reader(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """Flux that takes no more audio is replaced, and the whole turn has an end."""
    connector = memory_connector(faults=faults("slow-reader:after=1,connection=1"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 2.0, 30.0)))
    assert turn.outcome == Transcript(TEXT, Trigger.END_OF_TURN)


def test_back_pressure(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """Beyond 30 s of un-sent audio send() waits, and goes on when there is room."""

    async def main() -> tuple[float, Transcript]:
        connector = memory_connector(ingest_rate=10)
        loop = asyncio.get_running_loop()
        async with Transcriber(
            [connector], FluxSettings(), UtteranceSettings(answer_on="audio-stop")
        ) as transcriber:
            for _ in range(100):
                await transcriber.send(spoken(1.0))
            sent_at = loop.time()
            transcriber.end()
            return sent_at, await transcriber.result()

    sent_at, transcript = run_virtual(main)
    assert 3.0 <= sent_at <= 8.0
    assert transcript == Transcript("", Trigger.AUDIO_STOP)


def test_close_in_the_middle(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """A turn that nobody waits for any more closes Flux at once; result() is cancelled."""

    async def main() -> None:
        connector = memory_connector()
        transcriber = Transcriber([connector], FluxSettings(), UtteranceSettings())
        transcriber.start()
        await transcriber.send(spoken(0.5, 0.5))
        await asyncio.sleep(1)
        await transcriber.close()
        await transcriber.close()
        assert connector.service.connections[0].closed_by_client
        with pytest.raises(asyncio.CancelledError):
            await transcriber.result()
        await transcriber.send(b"ignored")

    run_virtual(main)


def test_close_while_connecting(run_virtual: Virtual, memory_connector: Any) -> None:
    """Closing before the connection is open leaves no task."""

    async def main() -> None:
        transcriber = Transcriber(
            [memory_connector(faults=faults("connect-late:seconds=2"))],
            FluxSettings(),
            UtteranceSettings(),
        )
        transcriber.start()
        await asyncio.sleep(0.5)
        await transcriber.close()

    run_virtual(main)


def test_internal_error_is_told(run_virtual: Virtual, memory_connector: Any) -> None:
    """A fault of our own becomes the error ``internal``, never a hang."""

    class Broken:
        name = "broken"

        async def connect(self, settings: FluxSettings) -> Any:
            raise RuntimeError("a bug")

    turn = run_virtual(lambda: take_turn(Broken(), bytes(3200)))
    assert turn.outcome.code == "internal"


def test_backlog_is_heard_though_the_client_falls_silent(
    run_virtual: Virtual, memory_connector: Any, spoken: Any
) -> None:
    """A client that sends much at once, without audio-stop, is not silent while Flux catches up."""
    audio = spoken(10.0, 2.0, 0.1)
    turn = run_virtual(
        lambda: take_turn(
            memory_connector(),
            audio,
            pace=0,
            stop=False,
            turn=UtteranceSettings(no_speech_timeout=20.0),
        )
    )
    assert turn.outcome == Transcript(TEXT, Trigger.NO_AUDIO)
    assert turn.at >= 12.0 / 1.25
