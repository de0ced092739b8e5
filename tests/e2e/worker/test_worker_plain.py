"""The ten-line Worker of Cloudflare's model page, which many have already deployed."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from wyoming_flux.errors import QuotaExceeded, Refused
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import Refuse
from wyoming_flux.utterance import Transcriber

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import StartWorker


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Start a Flux that takes audio as fast as it comes."""
    async with Simulator(ingest_rate=0) as running:
        yield running


@pytest.fixture
async def connector(start_worker: "StartWorker", simulator: Simulator) -> Connector:
    """Start the plain Worker before the simulator, and point a connector at it."""
    worker = await start_worker(urlsplit(simulator.url).port, config="plain")
    return Connector(Endpoint.from_url(f"{worker.url}/", token="not-looked-at"))


async def test_speech_with_key_terms(
    connector: Connector,
    simulator: Simulator,
    spoken: Callable[..., bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It works at 16 kHz; that key terms have no effect is said once, not with every turn."""
    caplog.set_level(logging.WARNING, "wyoming_flux")
    known_before = connector.plain
    for _ in range(3):
        settings = FluxSettings(keyterms=("living room",), sensitivity="relaxed")
        async with Transcriber([connector], settings, UtteranceSettings()) as transcriber:
            await transcriber.send(spoken(0.3, 2, 3))
            assert (await transcriber.result()).text == "turn on the living room light"
    assert (known_before, connector.plain) == (None, True)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert "key terms" in warnings[0]
    assert [one.parameters.keyterms for one in simulator.connections if one.parameters] == [()] * 3


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (FluxSettings(mip_opt_out=True), "mip_opt_out"),
        (FluxSettings(sample_rate=8000), "sample rate"),
        (FluxSettings(sample_rate=48000), "sample rate"),
    ],
)
async def test_what_would_be_lost_silently(
    connector: Connector, simulator: Simulator, settings: FluxSettings, name: str
) -> None:
    """Privacy and the rate are not dropped: the turn fails with the reason, and sends no audio."""
    with pytest.raises(Refused, match=name):
        await connector.connect(settings)
    assert all(one.audio_bytes == 0 for one in simulator.connections)


async def test_refusal_through_it(connector: Connector, simulator: Simulator) -> None:
    """What Workers AI says reaches us through it, too."""
    simulator.faults.append(Refuse(status=429, code="3036"))
    with pytest.raises(QuotaExceeded) as caught:
        await connector.connect(FluxSettings())
    assert caught.value.upstream_code == "3036"
