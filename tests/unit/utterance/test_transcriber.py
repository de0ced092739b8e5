"""One utterance against the simulator, in virtual time: what the shell does around the machine."""

import asyncio
import dataclasses
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


@pytest.mark.parametrize("fault", ["", "refuse:status=401"])
def test_the_outcome_is_known_before_anybody_waited_for_it(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, fault: str
) -> None:
    """Whoever must answer at once is called once, with text or error, and needs no round more."""
    connector = memory_connector(faults=faults(fault) if fault else [])
    seen: list[tuple[Transcript | WyomingFluxError, bool]] = []

    async def take() -> None:
        def known() -> None:
            try:
                outcome: Transcript | WyomingFluxError = transcriber.outcome()
            except WyomingFluxError as err:
                outcome = err
            seen.append((outcome, waiter.done()))

        async with Transcriber(
            [connector], FluxSettings(), UtteranceSettings(), on_known=known
        ) as transcriber:
            waiter = asyncio.create_task(transcriber.result())
            await transcriber.send(spoken(0.3, 2.0, 1.0))
            await asyncio.wait([waiter])
            outcome = waiter.exception() or waiter.result()
        assert seen == [(outcome, False)]

    run_virtual(take)


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


@dataclasses.dataclass
class Play:
    """A client that streams ``spoken(*audio)``, what its Flux does, and what is to come of it."""

    audio: tuple[float, ...]
    answered: tuple[float, float]
    """When, in seconds from its begin."""
    faulty: str = ""
    """Faults as a command line has them, one after the other."""
    script: Any = (TEXT,)
    answer: str = TEXT
    trigger: Trigger = Trigger.END_OF_TURN
    attempts: int = 1
    client: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What of :func:`take_turn` is not as usual."""


FILE = {"pace": 0}
OPEN = {"stop": False}
DICTATES = {"turn": UtteranceSettings(answer_on="audio-stop")}
PATIENT = {"turn": UtteranceSettings(no_speech_timeout=20.0)}
THREE = ["open the door", "close the window", "good night"]
MINUTE = (0.3, 1.0, 1.0, 1.0, 9.0, 1.0, 0.2)
HALF = [ScriptedTurn.of("turn on the", unfinished=True)]
NO_TIMEOUT = {"settings": FluxSettings(eot_timeout_ms=60000)}
LATER = (0.3, 2.0, 8.0)
STOP, SILENT = Trigger.AUDIO_STOP, Trigger.NO_AUDIO

PLAYS = [
    # What a client does: files, dictation, wake phrases, silence, gaps.
    Play(MINUTE, (9, 14), "", THREE, " ".join(THREE), STOP, client=FILE),
    Play(MINUTE, (9, 14), "", THREE, " ".join(THREE), STOP, client=FILE | DICTATES),
    Play((12, 1, 25, 1, 1), (40, 41), "", THREE, " ".join(THREE[:2]), STOP, client=DICTATES),
    Play((0.1, 0.5, 1.0, 1.5, 5.0), (3.2, 3.6), "", ["Okay, Nabu.", TEXT]),
    Play((0.1, 2.5, 5.0), (2.8, 3.2), "", ["Hey Jarvis, " + TEXT]),
    Play((30.0,), (7.4, 8.6), answer="", trigger=Trigger.NO_SPEECH),
    Play((0.5,), (5.5, 6.5), answer="", trigger=SILENT, client=OPEN),
    Play((), (0, 0), answer="", trigger=STOP, attempts=1),
    Play((0.3, 2.0), (5.3, 6.3), trigger=SILENT, client=OPEN),
    Play((0.3, 2.0, 5.0), (5.4, 5.7), client={"gap": (1.2, 2.9)}),
    Play((0.3, 1.5), (4.8, 6.3), "", HALF, "turn on the", SILENT, client=OPEN | NO_TIMEOUT),
    Play((10.0, 2.0, 0.1), (9.6, 14), trigger=SILENT, client=FILE | OPEN | PATIENT),
    # What Flux does.
    Play(LATER, (2.5, 2.8), "end:kind=empty"),
    Play(LATER, (2.5, 2.8), "end:kind=twice"),
    Play(LATER, (2.5, 3.2), "end:kind=late"),
    Play(LATER, (2.5, 2.8), "garbage:after=1"),
    Play(LATER, (2.5, 3.0), "jitter:seconds=0.2"),
    Play(LATER, (2.5, 4.0), "drop:after=1.5,connection=1", attempts=2),
    Play(LATER, (2.5, 4.0), "error:after=1.5,connection=1", attempts=2),
    Play((0.3, 2.0, 0.3), (2, 6), "drop:after=1.5,connection=1", ["a b"], "a b", STOP, 2, FILE),
    Play((0.3, 2.0, 20.0), (4.0, 7.5), "stall:after=1.5,connection=1", attempts=2),
    Play((0.3, 2.0, 30.0), (3.5, 8.0), "slow-reader:after=1,connection=1", attempts=2),
    Play(LATER, (2.5, 4.5), "connect-late:seconds=2,connection=1"),
    Play((0.1, 2.0, 20.0), (3.5, 6.5), "connect-late:seconds=3.5"),
    Play((0.1, 2.0, 20.0), (5.0, 8.0), "connect-late:seconds=5", attempts=2),
    Play(LATER, (2.5, 4.0), "connected-late:seconds=1.5"),
    Play(LATER, (2.5, 4.0), "refuse:status=503,connection=1 refuse:connection=2", attempts=3),
]


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: f"{play.faulty}{play.client}")
def test_every_turn_has_its_text(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, play: Play
) -> None:
    """Whatever client and Flux do: all words, in time; no byte is lost or out of order."""
    connector = memory_connector(faults=faults(*play.faulty.split()), script=play.script)
    pcm = spoken(*play.audio)
    turn = run_virtual(lambda: take_turn(connector, pcm, **play.client))
    assert turn.outcome == Transcript(play.answer, play.trigger)
    assert turn.partials == play.answer
    assert turn.report.attempts == play.attempts
    assert play.answered[0] <= turn.at <= play.answered[1]
    there = sum(one.audio_bytes for one in connector.service.connections) / 32000
    assert there <= turn.report.billed_seconds == turn.report.audio_seconds <= there + 6
    for audio in [bytes(one.audio) for one in connector.service.connections if one.audio][:1]:
        assert (pcm + bytes(len(audio))).startswith(audio)


@pytest.mark.parametrize(
    ("fault", "code", "attempts", "within"),
    [
        ("refuse:status=401,code=10000", "auth", 1, (0, 0.1)),
        ("refuse:status=429,code=3036", "quota", 1, (0, 0.1)),
        ("refuse:status=403,code=5035", "payment", 1, (0, 0.1)),
        ("refuse:status=404,body=nothing", "endpoint-not-found", 1, (0, 0.1)),
        ("refuse:status=503", "unreachable", 4, (1.6, 8)),
        # No attempt has a timer of its own, but all together have 8 s; a second one is beside it.
        ("connect-late:seconds=60", "timeout", 2, (7.7, 8.3)),
        ("drop:after=0.1", "connection-lost", 4, (0.1, 8)),
        # The 8 s begin when half a second is owed.
        ("stall garbage", "not-flux", 2, (2, 8.7)),
    ],
)
def test_every_refusal_is_told(
    run_virtual: Virtual,
    memory_connector: Any,
    spoken: Any,
    fault: str,
    code: str,
    attempts: int,
    within: tuple[float, float],
) -> None:
    """What no retry can change at once, all else within the bound for faults, by its own code."""
    connector = memory_connector(faults=faults(*fault.split()))
    turn = run_virtual(lambda: take_turn(connector, spoken(3.0, 3.0, 20.0)))
    assert turn.outcome.code == code
    assert turn.report.attempts == attempts
    assert within[0] <= turn.at <= within[1]


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


def test_longest_turn(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """A turn that does not end is finalised after max_turn of audio."""
    connector = memory_connector(script=["blah " * 60])
    turn = run_virtual(
        lambda: take_turn(connector, spoken(0.3, 40.0), turn=UtteranceSettings(max_turn=10.0))
    )
    assert turn.outcome.trigger is Trigger.MAX_TURN
    assert turn.outcome.text
    assert turn.at <= 12.0


def test_a_limit_ends_the_audio(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """No more is heard than the limit allows; the answer says why, and how much is missing."""

    async def main() -> tuple[Transcript, float]:
        dictation = UtteranceSettings(answer_on="audio-stop", max_turn=60.0)
        async with Transcriber([memory_connector()], FluxSettings(), dictation) as one:
            one.limit(3.0, Trigger.DAILY_LIMIT)
            await one.send(spoken(0.3, 20.0))
            one.end()
            return await one.result(), one.heard

    transcript, heard = run_virtual(main)
    assert transcript.trigger is Trigger.DAILY_LIMIT
    assert transcript.text
    assert transcript.missing == pytest.approx(17.3, abs=0.1)
    assert heard == pytest.approx(3.0, abs=0.1)


def test_lost_for_good(run_virtual: Virtual, memory_connector: Any, spoken: Any) -> None:
    """After two replacements: the text, and how much is missing in it, or the error."""
    connector = memory_connector(faults=faults("drop:after=1.5"))
    turn = run_virtual(lambda: take_turn(connector, spoken(0.3, 5.0, 8.0)))
    assert turn.outcome.trigger is Trigger.CONNECTION_LOST
    assert turn.outcome.text.startswith("turn")
    assert turn.outcome.missing > 0.5
    with pytest.raises(ConnectionLost, match="s are missing: closed with 1006"):
        turn.outcome.whole()


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
    assert turn.report.attempts == 2
    assert len([one for one in caplog.records if "eot_timeout_ms" in one.message]) == 1
    assert not [one for one in caplog.records if one.levelname == "WARNING"], "once is no proof"


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
