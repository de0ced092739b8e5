"""Deepgram's own client through the shipped Worker: nothing but its base URL is changed."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from deepgram import AsyncDeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v2.types import ListenV2CloseStream, ListenV2Connected
from websockets.exceptions import ConnectionClosed, InvalidStatus

from wyoming_flux.simulator import Simulator

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import StartWorker, Workerd

SECRET = "correct-horse-battery-staple"
# The SDK imports names of older versions of websockets.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")


def sdk(worker: "Workerd", key: str) -> AsyncDeepgramClient:
    """The SDK with the Worker's address in place of Deepgram's."""
    url = worker.url
    environment = DeepgramClientEnvironment(
        base=url.replace("ws", "http", 1), production=url, agent=url, agent_rest=url
    )
    return AsyncDeepgramClient(api_key=key, environment=environment)


async def test_a_turn(start_worker: "StartWorker", spoken: Callable[..., bytes]) -> None:
    """With the Worker's token as its key the SDK hears a turn, with what it asks for in force."""
    async with Simulator(ingest_rate=0, script=["turn on the lights"]) as simulator:
        worker = await start_worker(urlsplit(simulator.url).port, FLUX_TOKEN=SECRET)
        options: dict[str, Any] = {
            "model": "flux-general-en",
            "encoding": "linear16",
            "sample_rate": 16000,
            "eot_threshold": 0.8,
            "eot_timeout_ms": 3000,
            "keyterm": ["living room", "café, bar"],
            "tag": "home",
            "mip_opt_out": True,
        }
        async with sdk(worker, SECRET).listen.v2.connect(**options) as socket:
            assert isinstance(await socket.recv(), ListenV2Connected)
            await socket.send_media(spoken(0.5, 1.5, 3))
            await socket.send_close_stream(ListenV2CloseStream(type="CloseStream"))
            ends = []
            with contextlib.suppress(ConnectionClosed):
                while True:
                    message = await socket.recv()
                    if getattr(message, "event", "") == "EndOfTurn":
                        ends.append(message.transcript)
        (connection,) = simulator.connections
    assert ends == ["turn on the lights"]
    assert connection.mistakes == []
    assert connection.parameters is not None
    assert connection.parameters.keyterms == ("living room", "café, bar")
    assert connection.parameters.mip_opt_out is True


@pytest.mark.parametrize(
    ("key", "options", "status"),
    [
        ("wrong", {}, 401),
        (SECRET, {"model": "flux-general-multi"}, 400),
        (SECRET, {"tag": ["a", "b"]}, 400),
    ],
)
async def test_refusals(
    start_worker: "StartWorker", key: str, options: dict[str, Any], status: int
) -> None:
    """A wrong key, the multilingual model and several tags are refused, not silently lost."""
    async with Simulator(ingest_rate=0) as simulator:
        worker = await start_worker(urlsplit(simulator.url).port, FLUX_TOKEN=SECRET)
        given = {
            "model": "flux-general-en",
            "encoding": "linear16",
            "sample_rate": 16000,
            **options,
        }
        with pytest.raises((ApiError, InvalidStatus)) as caught:
            async with sdk(worker, key).listen.v2.connect(**given):
                pytest.fail("the SDK was let in")
        assert not simulator.connections
    refused = caught.value
    found = refused.status_code if isinstance(refused, ApiError) else refused.response.status_code
    assert found == status
