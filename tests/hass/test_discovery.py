"""Home Assistant's own Wyoming integration finds our server: in the network, and as an app."""

import asyncio
import importlib.util
import ipaddress
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import web
from homeassistant.config_entries import SOURCE_HASSIO, SOURCE_ZEROCONF
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers.service_info.hassio import HassioServiceInfo
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
from homeassistant.setup import async_setup_component
from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

ROOT = Path(__file__).parents[2]
TYPE = "_wyoming._tcp.local."
NAME = f"flux-test-{os.getpid()}"


@pytest.fixture(autouse=True)
async def _ready(hass: HomeAssistant, socket_enabled: None) -> None:
    """Let the tests use loopback, and set up what the Wyoming integration builds on."""
    assert await async_setup_component(hass, "homeassistant", {})


class Served:
    """A server that was started as a person starts it."""

    def __init__(self, *options: str, port: int = 0) -> None:
        """Take its options."""
        self.options = options
        self.port = port

    async def __aenter__(self) -> int:
        """Start it; return its port."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wyoming_flux", "serve"),
            *("--uri", f"tcp://127.0.0.1:{self.port}", "--worker-url", "ws://127.0.0.1:9"),
            *("--route", "workers-ai", *self.options),
            env=environment,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            async for line in self.process.stderr:
                if b"Listening on tcp://" in line:
                    return int(line.rpartition(b":")[2])
        raise AssertionError("it does not listen")

    async def __aexit__(self, *_: object) -> None:
        """Stop it as systemd does."""
        self.process.terminate()
        async with asyncio.timeout(30):
            assert await self.process.wait() == 0


class Network:
    """What Home Assistant's zeroconf sees, on loopback."""

    def __init__(self) -> None:
        """Listen for Wyoming."""
        self.seen: asyncio.Queue[ServiceStateChange] = asyncio.Queue()
        self.zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only)
        self.browser = AsyncServiceBrowser(self.zeroconf.zeroconf, TYPE, handlers=[self._change])

    def _change(
        self, zeroconf: object, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if name == f"{NAME}.{TYPE}":
            self.seen.put_nowait(state_change)

    async def wait(self, change: ServiceStateChange) -> None:
        """Wait until our server came or went."""
        async with asyncio.timeout(30):
            while await self.seen.get() is not change:
                pass

    async def found(self) -> ZeroconfServiceInfo:
        """Return what Home Assistant makes of our server."""
        await self.wait(ServiceStateChange.Added)
        info = AsyncServiceInfo(TYPE, f"{NAME}.{TYPE}")
        assert await info.async_request(self.zeroconf.zeroconf, 5000)
        addresses = [ipaddress.ip_address(one) for one in info.parsed_addresses()]
        assert info.server is not None
        return ZeroconfServiceInfo(
            ip_address=addresses[0],
            ip_addresses=addresses,
            port=info.port,
            hostname=info.server,
            type=TYPE,
            name=info.name,
            properties={},
        )

    async def close(self) -> None:
        """Stop listening."""
        await self.browser.async_cancel()
        await self.zeroconf.async_close()


@pytest.fixture
async def network() -> AsyncGenerator[Network]:
    """The local network."""
    network = Network()
    yield network
    await network.close()


async def test_found_in_the_network(hass: HomeAssistant, network: Network) -> None:
    """One click adds it; after a restart it is the same, and when it stops it is gone at once."""
    async with Served("--zeroconf", NAME) as port:
        found = await network.found()
        assert (str(found.ip_address), found.port) == ("127.0.0.1", port)
        flow = await hass.config_entries.flow.async_init(
            "wyoming", context={"source": SOURCE_ZEROCONF}, data=found
        )
        assert (flow["type"], flow["step_id"]) == (FlowResultType.FORM, "zeroconf_confirm")
        flow = await hass.config_entries.flow.async_configure(flow["flow_id"], {})
        assert flow["type"] is FlowResultType.CREATE_ENTRY
        assert flow["data"] == {"host": "127.0.0.1", "port": port}
        await hass.async_block_till_done()
        assert hass.states.get("stt.flux") is not None
    await network.wait(ServiceStateChange.Removed)
    async with Served("--zeroconf", NAME, port=port):
        flow = await hass.config_entries.flow.async_init(
            "wyoming", context={"source": SOURCE_ZEROCONF}, data=await network.found()
        )
        assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "already_configured")
        assert len(hass.config_entries.async_entries("wyoming")) == 1
        (entry,) = hass.config_entries.async_entries("wyoming")
        assert await hass.config_entries.async_unload(entry.entry_id)


@pytest.fixture
def app() -> ModuleType:
    """The app's entry point, as a module."""
    path = ROOT / "deploy" / "app" / "start.py"
    spec = importlib.util.spec_from_file_location("start", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_found_as_an_app(
    hass: HomeAssistant, app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the app tells the Supervisor is what Home Assistant's Wyoming integration takes."""
    told: list[dict[str, object]] = []

    async def discovery(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.json_response({"result": "ok", "data": {"uuid": "0123"}})

    supervisor = web.Application()
    supervisor.router.add_post("/discovery", discovery)
    runner = web.AppRunner(supervisor)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    # The name of the container, which Home Assistant reaches it by.
    monkeypatch.setattr("socket.gethostname", lambda: "127.0.0.1")
    try:
        async with Served() as port:
            url = site.name.removesuffix("/")
            assert await asyncio.to_thread(app.announce, url, "token", port)
            assert told[0]["service"] == "wyoming"
            config = told[0]["config"]
            assert isinstance(config, dict)
            info = HassioServiceInfo(
                config=config, name="Deepgram Flux", slug="local_wyoming_flux", uuid="0123"
            )
            flow = await hass.config_entries.flow.async_init(
                "wyoming", context={"source": SOURCE_HASSIO}, data=info
            )
            assert (flow["type"], flow["step_id"]) == (FlowResultType.FORM, "hassio_confirm")
            flow = await hass.config_entries.flow.async_configure(flow["flow_id"], {})
            assert flow["type"] is FlowResultType.CREATE_ENTRY
            assert flow["title"] == "Deepgram Flux"
            assert flow["data"] == {"host": "127.0.0.1", "port": port}
            await hass.async_block_till_done()
            assert hass.states.get("stt.flux") is not None
            (entry,) = hass.config_entries.async_entries("wyoming")
            assert await hass.config_entries.async_unload(entry.entry_id)
    finally:
        await runner.cleanup()
