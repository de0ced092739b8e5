"""The check of an endpoint: what it says, and that it is as patient as an utterance."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from wyoming_flux.errors import AuthFailed, EndpointError, LoginNeeded
from wyoming_flux.flux import Connector, Endpoint, FluxConnection, Verdict, check_flux
from wyoming_flux.flux.advice import what_to_do
from wyoming_flux.settings import FluxSettings
from wyoming_flux.simulator import ScriptedTurn, Simulator
from wyoming_flux.simulator.faults import parse

SETTINGS = FluxSettings(keyterms=("lamp",), eot_timeout_ms=1000)


def connector_to(url: str) -> Connector:
    """Return the way to a stand-in for Workers AI."""
    return Connector(Endpoint.from_url(url, route="workers-ai"))


@contextlib.asynccontextmanager
async def far_end(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve WebSockets on loopback that are no simulator."""
    async with serve(handler, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"ws://{host}:{port}"


async def test_the_first_message() -> None:
    """Half a second of silence and one message are enough to know that it is Flux."""
    opened: list[FluxConnection] = []
    async with Simulator() as simulator:
        verdict = await check_flux(connector_to(simulator.url), SETTINGS, on_open=opened.append)
        (arrived,) = simulator.connections
    assert verdict == Verdict(
        connect_ms=opened[0].connect_ms,
        first="Connected",
        accepted=("eot_timeout_ms", "keyterm"),
        refused=(),
        ignored=False,
        request_id=arrived.request_id,
    )
    assert str(verdict) == "Flux answers (Connected); thresholds and key terms were accepted"


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
async def test_the_sentence(rate: int) -> None:
    """At any rate the sentence gets through to the end of the turn, and the verdict has it all."""
    settings = FluxSettings(sample_rate=rate, eot_timeout_ms=1000)
    async with Simulator(script=[ScriptedTurn.of("Close the garage door.")]) as simulator:
        verdict = await check_flux(connector_to(simulator.url), settings, speak=True)
        (arrived,) = simulator.connections
        assert not arrived.mistakes
    assert verdict.heard == "Close the garage door."
    # The simulator ends a turn 320 ms of audio after the last voice.
    assert verdict.after_ms is not None
    assert 200 < verdict.after_ms < 1500
    assert str(verdict).startswith("Flux heard 'Close the garage door.' 0.")
    assert str(verdict).endswith("s after the last word; thresholds were accepted")


IGNORES = "; this Worker ignores key terms and thresholds"
LEFT_OUT = "; key terms were accepted; refused, and left out: tag, eot_timeout_ms"


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (Verdict(1, "Connected", (), (), False), "Flux answers (Connected)"),
        (
            Verdict(1, "x", (), (), True, None, "on", 410.0),
            f"Flux heard 'on' 0.41 s after the last word{IGNORES}",
        ),
        (
            Verdict(
                1, "x", ("eot_threshold", "keyterm"), ("tag", "eot_timeout_ms"), False, None, "on"
            ),
            f"Flux heard 'on', but did not say that the turn is over{LEFT_OUT}",
        ),
    ],
)
def test_the_verdict_in_words(verdict: Verdict, sentence: str) -> None:
    """It says what was heard, and of parameters no more than that they were taken."""
    assert str(verdict) == sentence


async def test_refused_parameters_are_told() -> None:
    """What had to be left out is in the verdict, although one refusal proves nothing yet."""
    async with Simulator(faults=[parse("refuse:status=400,code=5004,connection=1")]) as simulator:
        verdict = await check_flux(connector_to(simulator.url), SETTINGS)
    assert (verdict.accepted, verdict.refused) == (("keyterm",), ("eot_timeout_ms",))


async def test_a_plain_worker_is_told() -> None:
    """Nothing is called accepted by a Worker that ignores it."""
    async with Simulator() as simulator:
        verdict = await check_flux(Connector(Endpoint.from_url(simulator.url)), SETTINGS)
    assert str(verdict).endswith("this Worker ignores key terms and thresholds")


@pytest.mark.slow
async def test_a_slow_handshake_is_good_enough() -> None:
    """An endpoint that takes five seconds to open works in an utterance, and so it does here."""
    async with Simulator(faults=[parse("connect-late:seconds=5")]) as simulator:
        verdict = await check_flux(connector_to(simulator.url), SETTINGS)
    assert verdict.connect_ms >= 5000


async def nothing(websocket: ServerConnection) -> None:
    """Listen, and say nothing."""
    await websocket.wait_closed()


async def deaf(websocket: ServerConnection) -> None:
    """Tell how far it has heard, and no text ever."""
    seconds = 0.0
    async for frame in websocket:
        assert isinstance(frame, bytes)
        seconds += len(frame) / 32000
        heard = {"event": "Update", "turn_index": 0, "transcript": "", "audio_window_end": seconds}
        await websocket.send(json.dumps(heard))


async def noise(websocket: ServerConnection) -> None:
    """Say something that is no message of Flux."""
    await websocket.send("hello")
    await websocket.wait_closed()


async def fault(websocket: ServerConnection) -> None:
    """Report a fault at once."""
    await websocket.send('{"type":"Error","code":"E","description":"no such thing"}')
    await websocket.wait_closed()


async def gone(websocket: ServerConnection) -> None:
    """Hang up."""
    await websocket.close(1011)


@pytest.mark.parametrize(
    ("behaviour", "code", "sentence"),
    [
        (nothing, "timeout", "said nothing"),
        (deaf, "timeout", "heard nothing of 'close the garage door'"),
        (noise, "not-flux", "not as Flux does"),
        (fault, "refused", "no such thing"),
        (gone, "connection-lost", "1011"),
    ],
)
async def test_what_is_not_good(
    monkeypatch: pytest.MonkeyPatch, behaviour: Any, code: str, sentence: str
) -> None:
    """Each way not to be a Flux that hears has its cause, within its bound."""
    monkeypatch.setattr("wyoming_flux.flux.check.FIRST_MESSAGE_LIMIT", 0.3)
    async with far_end(behaviour) as url, asyncio.timeout(8):
        with pytest.raises(EndpointError, match=sentence) as caught:
            await check_flux(connector_to(url), FluxSettings(eot_timeout_ms=500), speak=True)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("error", "token", "named", "not_named"),
    [
        (AuthFailed("wrong"), "one", ("right token", "--token-file"), ("Access", "No token")),
        (AuthFailed("none"), None, ("No token was given", "--token-file"), ("Access", "right")),
        (LoginNeeded("login"), "one", ("Access", "--header-file"), ("--token-file",)),
        (LoginNeeded("login"), None, ("Access", "--header-file"), ("--token-file", "No token")),
    ],
)
def test_advice_names_what_is_missing(
    error: AuthFailed, token: str | None, named: tuple[str, ...], not_named: tuple[str, ...]
) -> None:
    """Who gave a wrong token, or none, or stands before a login is told that, and that alone."""
    said = what_to_do(error, Endpoint.from_url("https://flux.someone.workers.dev", token=token))
    assert said is not None
    assert [one for one in named if one not in said] == []
    assert [one for one in not_named if one in said] == []
