"""Home Assistant in the test's own process, the integration in it, the simulator on loopback."""

import asyncio
import functools
import math
import struct
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest
from homeassistant.components.stt import (
    AudioBitRates,
    AudioChannels,
    AudioCodecs,
    AudioFormats,
    AudioSampleRates,
    SpeechMetadata,
    SpeechResult,
)
from homeassistant.components.stt.const import DATA_COMPONENT
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.syrupy import HomeAssistantSnapshotExtension
from syrupy.assertion import SnapshotAssertion

# Imported first: Home Assistant's test tools have a package of this name, too.
import custom_components.wyoming_flux  # noqa: F401
from wyoming_flux import __version__
from wyoming_flux.flux import Endpoint
from wyoming_flux.simulator import Simulator

DOMAIN = "wyoming_flux"
ENTRY_ID = "01JTEST00000000000000000FX"
ENGINE = "stt.deepgram_flux"
TOKEN = "door-opener"
RATE = 16000


class Worker(Simulator):
    """The simulator as our Worker shows itself; ``plain``: as the ten-line Worker does."""

    plain = False

    def extra_headers(self) -> Mapping[str, str]:
        """Return what tells our Worker."""
        return {} if self.plain else {"x-wyoming-flux-worker": __version__}


type StartWorker = Callable[..., Awaitable[Worker]]
type SetUp = Callable[..., Awaitable[MockConfigEntry]]
type Hear = Callable[..., Awaitable[SpeechResult]]
type Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture(autouse=True)
def _integration(enable_custom_integrations: None, socket_enabled: None) -> None:
    """Let Home Assistant find the integration, and the tests use loopback."""


@pytest.fixture
def entity_registry_enabled_by_default() -> Generator[None]:
    """Enable all entities, also those that are disabled by default."""
    with patch(
        "homeassistant.helpers.entity.Entity.entity_registry_enabled_default",
        PropertyMock(return_value=True),
    ):
        yield


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Keep snapshots as Home Assistant does."""
    return snapshot.use_extension(HomeAssistantSnapshotExtension)


@pytest.fixture
async def start_worker() -> AsyncGenerator[StartWorker]:
    """Return what starts a Worker with a simulated Flux behind it."""
    async with AsyncExitStack() as stack:

        async def start(*, plain: bool = False, **arguments: Any) -> Worker:
            arguments.setdefault("token", TOKEN)
            worker = Worker(**arguments)
            worker.plain = plain
            return await stack.enter_async_context(worker)

        yield start


@pytest.fixture
async def worker(start_worker: StartWorker) -> Worker:
    """A Worker in good health that hears one sentence."""
    return await start_worker()


@pytest.fixture
def deepgram() -> Callable[[], AbstractContextManager[object]]:
    """Return what makes an entry take its endpoint, whose name does not say so, for Deepgram's."""

    def take() -> AbstractContextManager[object]:
        from_url = functools.partial(Endpoint.from_url, route="deepgram")
        return patch("custom_components.wyoming_flux.Endpoint.from_url", from_url)

    return take


@pytest.fixture
def set_up(hass: HomeAssistant) -> SetUp:
    """Return what makes an entry for a Worker, and sets it up."""

    async def make(
        worker: Simulator | str,
        options: dict[str, Any] | None = None,
        *,
        token: str | None = TOKEN,
        entry_id: str = ENTRY_ID,
    ) -> MockConfigEntry:
        await async_setup_component(hass, "homeassistant", {})
        url = worker if isinstance(worker, str) else f"{worker.url}/"
        data = {"worker_url": url} | ({"token": token} if token else {})
        entry = MockConfigEntry(
            domain=DOMAIN,
            title="Deepgram Flux",
            entry_id=entry_id,
            data=data,
            options={"home_names": False, **(options or {})},
        )
        entry.add_to_hass(hass)
        await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        return entry

    return make


@dataclass(frozen=True)
class Audio:
    """Makes audio for tests: 16-bit mono, unless said otherwise 16 kHz."""

    rate: int = RATE

    def tone(self, seconds: float) -> bytes:
        """Return audio that is loud enough to be speech."""
        samples = [int(9000 * math.sin(index * 0.9)) for index in range(self.rate // 10)]
        piece = struct.pack(f"<{len(samples)}h", *samples)
        return (piece * (int(seconds * 10) + 1))[: 2 * int(seconds * self.rate)]

    def silence(self, seconds: float) -> bytes:
        """Return audio in which nobody speaks."""
        return bytes(2 * int(seconds * self.rate))

    def sentence(self) -> bytes:
        """Return speech for the simulator's standard sentence, and silence until its end."""
        return self.tone(1.6) + self.silence(1.2)

    async def chunks(self, pcm: bytes, size: int = 320) -> AsyncGenerator[bytes]:
        """Give audio in pieces, as fast as it is taken."""
        for start in range(0, len(pcm), size):
            yield pcm[start : start + size]

    async def microphone(self, pcm: bytes = b"") -> AsyncGenerator[bytes]:
        """Give audio, then silence for ever, ten times faster than a microphone would."""
        async for chunk in self.chunks(pcm):
            yield chunk
        while True:
            await asyncio.sleep(0.001)
            yield self.silence(0.01)


@pytest.fixture
def audio() -> Audio:
    """Return what makes audio."""
    return Audio()


@pytest.fixture
def hear(hass: HomeAssistant) -> Hear:
    """Return what has the entity hear audio, within bounds, as a pipeline does."""

    async def hear_audio(stream: AsyncIterable[bytes], language: str = "en") -> SpeechResult:
        engine = hass.data[DATA_COMPONENT].get_entity(ENGINE)
        assert engine is not None
        metadata = SpeechMetadata(
            language=language,
            format=AudioFormats.WAV,
            codec=AudioCodecs.PCM,
            bit_rate=AudioBitRates.BITRATE_16,
            sample_rate=AudioSampleRates.SAMPLERATE_16000,
            channel=AudioChannels.CHANNEL_MONO,
        )
        async with asyncio.timeout(20):
            result = await engine.async_process_audio_stream(metadata, stream)
            # The turn is closed, and counted, after it was answered.
            await hass.async_block_till_done(wait_background_tasks=True)
            return result

    return hear_audio


@pytest.fixture
def eventually() -> Eventually:
    """Return what waits, within bounds, for something that other tasks do."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - of what is waited for nobody sets an event
                await asyncio.sleep(0.01)

    return wait
