"""The judge is judged: what coded audio shows, and that Deepgram's own client takes its Flux."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v2.types import (
    ListenV2CloseStream,
    ListenV2Connected,
    ListenV2FatalError,
    ListenV2ForceEndTurn,
    ListenV2TurnInfo,
)
from websockets.exceptions import ConnectionClosed

from tests.support.coded_audio import RATE, WORD_SECONDS, Ear, plain, silence, speak
from tests.support.foreign_behaviour import Behaviour, behaviour_from
from tests.support.foreign_flux import ForeignFlux

# The SDK imports names of older versions of websockets.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")

WORD = 2 * round(RATE * WORD_SECONDS)
SAID = speak("turn on on the light") + silence(0.1)
HOSTED = Behaviour(
    ingest=0,
    word_times=True,
    controls=frozenset({"CloseStream", "ForceEndTurn", "Configure"}),
)


def heard(pcm: bytes, size: int = 640) -> list[str]:
    """Return what an ear hears in chunks of so many bytes."""
    ear = Ear()
    words = [word for at in range(0, len(pcm), size) for word in ear.feed(pcm[at : at + size])]
    return [word.text for word in words + ear.finish()]


@pytest.mark.parametrize("size", [2, 34, 640, 8000, 64000])
def test_every_word_is_heard_once(size: int) -> None:
    """Chunks of any size give the same words, a word that is said twice included."""
    assert heard(SAID, size) == "turn on on the light".split()


@pytest.mark.parametrize(
    ("pcm", "words"),
    [
        (SAID[: WORD + 2000] + SAID[WORD + 2200 :], "turn on~ on the light"),
        (SAID[: WORD + 2000] + silence(0.02) + SAID[WORD + 2000 :], "turn on~ on~ on the light"),
        (SAID[: WORD + 2000] + SAID[WORD + 1800 :], "turn on on~long on the light"),
        (SAID[: 2 * WORD] + SAID[WORD:], "turn on on on the light"),
        (SAID[:WORD] + SAID[2 * WORD :], "turn on the light"),
        (SAID[WORD // 4 :], "turn on on the light"),
        (SAID[3 * WORD // 4 :], "on on the light"),
        (SAID[: 4 * WORD + WORD // 4], "turn on on the"),
    ],
    ids=[
        "a piece lost",
        "silence put in",
        "a piece twice",
        "a word twice",
        "a word lost",
        "the stream begins in a word",
        "the stream begins at the end of a word",
        "the stream ends in a word",
    ],
)
def test_what_went_wrong_shows(pcm: bytes, words: str) -> None:
    """What was lost, repeated, or torn apart is seen in the text."""
    assert heard(pcm) == words.split()


def test_shifted_bytes_are_noise() -> None:
    """Half a sample too much makes noise of all words."""
    assert not {word.strip("~long") for word in heard(b"\0" + SAID[:-1])} & set("turn on".split())


async def listen(behaviour: Behaviour, pcm: bytes, *controls: Any) -> list[Any]:
    """Speak to a foreign Flux with Deepgram's SDK; return all that it says."""
    found: list[Any] = []
    async with ForeignFlux(behaviour) as flux:
        environment = DeepgramClientEnvironment(
            base=flux.url.replace("ws", "http", 1),
            production=flux.url,
            agent=flux.url,
            agent_rest=flux.url,
        )
        client = AsyncDeepgramClient(api_key="key", environment=environment)
        options: dict[str, Any] = {"encoding": "linear16", "sample_rate": RATE}
        async with client.listen.v2.connect(model="flux-general-en", **options) as socket:
            await socket.send_media(pcm)
            for control in controls:
                if isinstance(control, ListenV2ForceEndTurn):
                    await flux.said("Turn on on the light", within=5.0)
                    await socket.send_force_end_turn(control)
                else:
                    await socket.send_close_stream(control)
            with contextlib.suppress(ConnectionClosed):
                while True:
                    found.append(await socket.recv())
        assert not flux.wrong
    return found


async def test_the_sdk_takes_its_messages() -> None:
    """Deepgram's models take all messages without a field too many; the order is as documented."""
    pcm = silence(0.3) + speak("turn on the light") + silence(0.6) + speak("stop")
    first, *messages = await listen(HOSTED, pcm, ListenV2CloseStream(type="CloseStream"))
    assert isinstance(first, ListenV2Connected)
    assert all(isinstance(one, ListenV2TurnInfo) for one in messages)
    assert not [one.model_extra for one in (first, *messages) if one.model_extra]
    assert [one.sequence_id for one in messages] == list(range(1, len(messages) + 1))
    ends = [one for one in messages if one.event == "EndOfTurn"]
    assert [(one.turn_index, one.transcript, one.trigger) for one in ends] == [
        (0, "Turn on the light.", "model")
    ]
    assert [one.start for one in ends[0].words] == [0.3, 0.55, 0.8, 1.05]
    # CloseStream ends no turn; what was decoded is told.
    assert (messages[-1].event, messages[-1].transcript) == ("Update", "Stop")


async def test_the_sdk_forces_an_end() -> None:
    """``ForceEndTurn`` ends the turn with what was told, and ``CloseStream`` follows."""
    pcm = speak("turn on on the light") + silence(0.3)
    force, close = (
        ListenV2ForceEndTurn(type="ForceEndTurn"),
        ListenV2CloseStream(type="CloseStream"),
    )
    messages = await listen(replace(HOSTED, end_of_turn=9.0), pcm, force, close)
    assert [plain(one.transcript) for one in messages[1:] if one.event == "EndOfTurn"] == [
        "turn on on the light".split()
    ]


async def test_an_unknown_control_is_fatal() -> None:
    """A control that is not known is answered with an Error and a close without a code."""
    none = Behaviour(ingest=0, controls=frozenset())
    messages = await listen(none, SAID, ListenV2CloseStream(type="CloseStream"))
    assert isinstance(messages[-1], ListenV2FatalError)
    assert messages[-1].code == "UNPARSABLE_CLIENT_MESSAGE"


def test_a_behaviour_from_the_command_line() -> None:
    """Pairs of name and value make a behaviour; a name that is none is told."""
    given = ("window_lag=0.8", "mute=1,3.2", "controls=", "late_end=yes", "refuse=503")
    assert behaviour_from(given) == Behaviour(
        window_lag=0.8, mute=(1.0, 3.2), controls=frozenset(), late_end=True, refuse=503
    )
    with pytest.raises(ValueError, match="window_lagg"):
        behaviour_from(["window_lagg=1"])
