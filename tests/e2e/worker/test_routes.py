"""Each of the four routes: what exactly arrives, and how a turn is brought to its end."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from wyoming_flux.errors import EndpointNotFound
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator import ScriptedTurn, Simulator
from wyoming_flux.utterance import Transcriber

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import FarEnd

SECRET = "a-token-of-some-length"
ACCESS = {"CF-Access-Client-Id": "7f.access", "CF-Access-Client-Secret": "hidden-access-secret"}
WORKERS_AI_PATH = "/client/v4/accounts/0123abcd/ai/run/@cf/deepgram/flux"
GATEWAY_PATH = "/v1/0123abcd/home/workers-ai"
ROUTES = [
    pytest.param("worker", "", "/", [], ("Authorization", "Bearer"), id="worker"),
    pytest.param(
        "workers-ai", WORKERS_AI_PATH, WORKERS_AI_PATH, [], ("Authorization", "Bearer"), id="ai"
    ),
    pytest.param(
        "ai-gateway",
        GATEWAY_PATH,
        GATEWAY_PATH,
        [("model", "@cf/deepgram/flux")],
        ("cf-aig-authorization", "Bearer"),
        id="gateway",
    ),
    pytest.param(
        "deepgram",
        "",
        "/v2/listen",
        [("model", "flux-general-en")],
        ("Authorization", "Token"),
        id="deepgram",
    ),
]
FULL = FluxSettings(
    sample_rate=24000,
    sensitivity="relaxed",
    eager_eot_threshold=0.5,
    keyterms=("living room", "café, bar & 客厅"),
    mip_opt_out=True,
    tag="home",
)
FULL_QUERY = [
    ("encoding", "linear16"),
    ("sample_rate", "24000"),
    ("mip_opt_out", "true"),
    ("eot_threshold", "0.85"),
    ("eager_eot_threshold", "0.5"),
    ("eot_timeout_ms", "4000"),
    ("keyterm", "living room"),
    ("keyterm", "café, bar & 客厅"),
    ("tag", "home"),
]


@pytest.mark.parametrize(("route", "path", "arrives_at", "first", "authorization"), ROUTES)
async def test_request_of_a_route(
    far_end: "FarEnd",
    route: str,
    path: str,
    arrives_at: str,
    first: list[tuple[str, str]],
    authorization: tuple[str, str],
) -> None:
    """Path, query, token and extra headers arrive in the form that the route wants."""
    far_end.headers = {"x-wyoming-flux-worker": "0.1.0"}
    endpoint = Endpoint.from_url(
        f"ws://127.0.0.1:{far_end.port}{path}", route=route, token=SECRET, headers=ACCESS
    )
    connection = await Connector(endpoint).connect(FULL)
    await connection.close()
    (request,) = far_end.requests
    parts = urlsplit(request.path)
    assert parts.path == arrives_at
    assert parse_qsl(parts.query, strict_parsing=True) == first + FULL_QUERY
    name, scheme = authorization
    assert request.headers.get_all(name) == [f"{scheme} {SECRET}"]
    other = {"Authorization", "cf-aig-authorization"} - {name}
    assert not any(request.headers.get_all(header) for header in other)
    assert ACCESS.items() <= dict(request.headers.raw_items()).items()
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert request.headers["User-Agent"].startswith("wyoming-flux/")


@pytest.mark.parametrize(("route", "path", "arrives_at", "first", "authorization"), ROUTES)
async def test_finalising_of_a_route(
    spoken: Callable[..., bytes],
    route: str,
    path: str,
    arrives_at: str,
    first: list[tuple[str, str]],
    authorization: tuple[str, str],
) -> None:
    """When the client ends first, each route gets only messages that it knows; the text comes."""
    profile = "deepgram" if route == "deepgram" else "workers-ai"
    settings = FluxSettings(keyterms=("living room", "kitchen"))
    script = [ScriptedTurn.of("turn on the", unfinished=True)]
    # The simulator's address for a Worker is that of the binding, which test_worker_speech uses.
    path = WORKERS_AI_PATH if route == "worker" else path
    async with Simulator(profile=profile, script=script, ingest_rate=0, token=SECRET) as simulator:
        endpoint = Endpoint.from_url(simulator.url + path, route=route, token=SECRET)
        async with Transcriber([Connector(endpoint)], settings, UtteranceSettings()) as transcriber:
            await transcriber.send(spoken(0.2, 1.2))
            transcriber.end()
            transcript = await transcriber.result()
        (connection,) = simulator.connections
    assert transcript.text == "turn on the"
    kinds = [control["type"] for control in connection.controls]
    assert kinds[0] == ("ForceEndTurn" if route == "deepgram" else "CloseStream")
    assert set(kinds) <= {"ForceEndTurn", "CloseStream"}
    assert not connection.mistakes
    assert connection.parameters is not None
    assert connection.parameters.keyterms == settings.keyterms


async def test_other_redirects_are_not_followed(far_end: "FarEnd") -> None:
    """The token is not carried to where somebody redirects to."""
    far_end.refusal = (301, "", {"Location": f"http://127.0.0.1:{far_end.port}/elsewhere"})
    endpoint = Endpoint.from_url(f"ws://127.0.0.1:{far_end.port}", token=SECRET)
    with pytest.raises(EndpointNotFound, match="redirect"):
        await Connector(endpoint).connect(FluxSettings())
    assert len(far_end.requests) == 1
