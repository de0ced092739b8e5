"""A turn through the shipped Worker in the real runtime, to the simulator behind the binding."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from wyoming_flux.errors import (
    EndpointError,
    EndpointNotFound,
    QuotaExceeded,
    Refused,
    Unreachable,
)
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.flux.probe import find, make_plan, probe, profile_of
from wyoming_flux.keyterms import merge
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator import ScriptedTurn, Simulator
from wyoming_flux.simulator.faults import Refuse
from wyoming_flux.utterance import Transcriber, Trigger

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import StartWorker, Workerd

SECRET = "a-token-of-some-length"
TEXT = "turn on the living room light"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Start a Flux that takes audio as fast as it comes."""
    async with Simulator(ingest_rate=0) as running:
        yield running


@pytest.fixture
async def before_flux(start_worker: "StartWorker", simulator: Simulator) -> "Workerd":
    """Start the shipped Worker before the simulator."""
    return await start_worker(urlsplit(simulator.url).port, FLUX_TOKEN=SECRET)


@pytest.fixture
def connector(before_flux: "Workerd") -> Connector:
    """Point a connector at the Worker, as a person enters its address."""
    url = before_flux.url.replace("ws://", "http://")
    return Connector(Endpoint.from_url(url, token=SECRET))


async def test_settings_and_speech(
    connector: Connector, simulator: Simulator, spoken: Callable[..., bytes]
) -> None:
    """Flux hears at the rate that was set, the audio arrives unchanged, and the text comes back."""
    settings = FluxSettings(sample_rate=24000, keyterms=("living room", "café, bar & 客厅"))
    audio = spoken(0.3, 2, 3, rate=24000)
    async with Transcriber([connector], settings, UtteranceSettings()) as transcriber:
        await transcriber.send(audio)
        transcript = await transcriber.result()
    assert (transcript.text, transcript.trigger) == (TEXT, Trigger.END_OF_TURN)
    assert connector.plain is False
    assert connector.dropped == ()
    (connection,) = simulator.connections
    assert connection.path == "/run"
    parameters = connection.parameters
    assert parameters is not None
    assert (parameters.sample_rate, parameters.keyterms) == (24000, settings.keyterms)
    assert connection.audio
    # Behind the answer there is silence, which proves that Flux takes the audio under its settings.
    sent = min(len(audio), len(connection.audio))
    assert connection.audio[:sent] == audio[:sent]
    assert not any(connection.audio[sent:])
    assert not connection.mistakes


async def test_request_id(connector: Connector, simulator: Simulator) -> None:
    """Cloudflare's id of the request is known here, for its support."""
    connection = await connector.connect(FluxSettings())
    await connection.close()
    assert connection.request_id == simulator.connections[0].request_id


async def test_largest_lists_of_key_terms(connector: Connector, simulator: Simulator) -> None:
    """What our own cleaning lets through, the Worker lets through, however it is encoded."""
    for terms in (
        [f"term number {index}" for index in range(200)],
        [f'"{index}"' + '"\\' * 45 for index in range(100)],
        [f"{index}" + "客" * 90 for index in range(100)],
        [f"{index} " + "🏠" * 40 for index in range(100)],
    ):
        settings = FluxSettings(keyterms=merge(terms).terms)
        connection = await connector.connect(settings)
        await connection.close()
        parameters = simulator.connections[-1].parameters
        assert connection.dropped == ()
        assert parameters is not None
        assert parameters.keyterms == settings.keyterms
        assert len(settings.keyterms) > 1


async def test_parameters_that_workers_ai_refuses(
    connector: Connector, simulator: Simulator, spoken: Callable[..., bytes]
) -> None:
    """Refused parameters cost the key terms, not the turn; privacy is kept."""
    # With all, and without thresholds: it is the key terms.
    simulator.faults += [Refuse(connection=one, status=400, code="5004") for one in (1, 2)]
    settings = FluxSettings(keyterms=("living room",), mip_opt_out=True)
    async with Transcriber([connector], settings, UtteranceSettings()) as transcriber:
        await transcriber.send(spoken(0.3, 2, 6))
        assert (await transcriber.result()).text == TEXT
    # Once is no proof.
    assert connector.dropped == ()
    parameters = simulator.connections[2].parameters
    assert parameters is not None
    assert parameters.eot_timeout_ms == 2000
    assert parameters.keyterms == ()
    assert parameters.mip_opt_out is True


async def test_threshold_beyond_cloudflares_range(
    connector: Connector, simulator: Simulator
) -> None:
    """The Worker leaves it to Workers AI to refuse what only Deepgram takes."""
    connection = await connector.connect(FluxSettings(eot_threshold=1.0))
    await connection.close()
    first, second = simulator.connections
    assert first.refused == 400
    assert second.refused is None
    assert "eot_threshold" in connection.dropped


async def test_client_ends_first(start_worker: "StartWorker", spoken: Callable[..., bytes]) -> None:
    """After audio-stop silence brings the end; then CloseStream, and nothing else, is tried."""
    script = [ScriptedTurn.of("turn on the", unfinished=True)]
    async with Simulator(script=script, ingest_rate=0) as simulator:
        worker = await start_worker(urlsplit(simulator.url).port, FLUX_TOKEN=SECRET)
        connector = Connector(Endpoint.from_url(worker.url, token=SECRET))
        async with Transcriber([connector], FluxSettings(), UtteranceSettings()) as transcriber:
            await transcriber.send(spoken(0.3, 1.2))
            transcriber.end()
            assert (await transcriber.result()).text == "turn on the"
    (connection,) = simulator.connections
    assert [control["type"] for control in connection.controls] == ["CloseStream"]


OURS = {"FLUX_TOKEN": SECRET}


@pytest.mark.parametrize(
    ("worker", "path", "fault", "cause", "says"),
    [
        ({}, "", None, Refused, "wrangler secret put FLUX_TOKEN"),
        ({**OURS, "LIMIT": "0"}, "", None, Unreachable, "limits its rate"),
        (OURS, "/v1/listen", None, EndpointNotFound, "/v2/listen"),
        (OURS, "", Refuse(status=429, code="3036"), QuotaExceeded, "00:00 UTC"),
        (OURS, "", Refuse(status=429, code="3040"), Unreachable, "overloaded"),
        # The account of the Worker is refused: no new token is asked of the person.
        (OURS, "", Refuse(status=401, code="10000"), Refused, "refused the Worker"),
        (OURS, "", Refuse(status=403, code="10000"), Refused, "refused the Worker"),
        (OURS, "", Refuse(status=403, code="5018"), Refused, "5018"),
    ],
)
async def test_refusals(
    start_worker: "StartWorker",
    simulator: Simulator,
    worker: dict[str, str],
    path: str,
    fault: Refuse | None,
    cause: type[EndpointError],
    says: str,
) -> None:
    """What the Worker refuses, and what is refused behind it, has its cause, and its sentence."""
    simulator.faults += [fault] if fault else []
    started = await start_worker(urlsplit(simulator.url).port, **worker)
    with pytest.raises(EndpointError, match=says) as caught:
        await Connector(Endpoint.from_url(started.url + path, token=SECRET)).connect(FluxSettings())
    assert type(caught.value) is cause
    assert caught.value.retryable is (cause is Unreachable)
    if fault is not None:
        assert caught.value.upstream_code == fault.code
        assert caught.value.request_id == simulator.connections[0].request_id


async def test_the_probe(before_flux: "Workerd", connector: Connector) -> None:
    """Through the Worker it finds what stands behind it: nothing is added and nothing is lost."""
    records: list[dict[str, object]] = []
    steps = [
        one for one in make_plan(FluxSettings()) if not one.name.startswith(("frames", "idle"))
    ]
    await probe(connector.endpoint, steps, records.append)
    found = find(records)
    assert not found.oddities
    assert not found.plain
    assert found.taken == {
        "eot_threshold": True,
        "eot_timeout_ms": True,
        "eager_eot_threshold": True,
        "eot_threshold 1.0": False,
        "keyterm": True,
        "keyterm 100": True,
    }
    assert {name: one.kind for name, one in found.answers.items()} == {
        "CloseStream": "taken",
        "ForceEndTurn": "error",
        "Configure": "taken",
        "WyomingFluxProbe": "error",
    }
    profile = profile_of(found)
    assert profile["close_code"] in (1005, 1006)
    assert profile["flush"] is True
    assert SECRET not in str(records)
