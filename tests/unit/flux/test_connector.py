"""Connections over real loopback sockets: what is sent, and what each fault is called."""

import asyncio
import socket
import ssl
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from tests.support.far_end import http_server, raw_server, response, silent
from wyoming_flux.errors import ConnectionLost, EndpointError
from wyoming_flux.flux import Connected, Connector, Endpoint, TurnInfo
from wyoming_flux.flux.messages import CLOSE_STREAM
from wyoming_flux.settings import FluxSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import parse

TOKEN = "hush-hush-token"


async def test_a_stream() -> None:
    """Audio goes out, messages come in, and the close after CloseStream is told."""
    async with Simulator(token=TOKEN) as simulator:
        connector = Connector(Endpoint.from_url(simulator.url, route="workers-ai", token=TOKEN))
        connection = await connector.connect(FluxSettings(keyterms=("living room", "lamp")))
        assert connection.request_id
        assert connection.connect_ms > 0
        assert isinstance(await connection.receive(), Connected)
        await connection.send_audio(bytes(16000))
        assert isinstance(await connection.receive(), TurnInfo)
        await connection.send_control(CLOSE_STREAM)
        assert isinstance(await connection.receive(), TurnInfo)
        with pytest.raises(ConnectionLost) as caught:
            await connection.receive()
        assert caught.value.close_code == 1005
        assert caught.value.request_id == connection.request_id
        await connection.close()
        await connection.close()
        with pytest.raises(ConnectionLost):
            await connection.send_audio(bytes(2))
        arrived = simulator.connections[0]
        assert [v for n, v in arrived.query if n == "keyterm"] == ["living room", "lamp"]
        assert not arrived.mistakes
        assert "sec-websocket-extensions" not in arrived.request.headers


@pytest.mark.parametrize("pcm", [b"", b"\x00"])
async def test_frames_that_would_harm_are_not_sent(pcm: bytes) -> None:
    """Flux takes an empty frame for the end, and an odd one shifts all that follows."""
    async with Simulator() as simulator:
        connector = Connector(Endpoint.from_url(simulator.url, route="workers-ai"))
        connection = await connector.connect(FluxSettings())
        with pytest.raises(ValueError, match="whole samples"):
            await connection.send_audio(pcm)
        await connection.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (response("301 Moved", Location="https://elsewhere.example/"), "endpoint-not-found"),
        (response("101 Switching Protocols", Upgrade="websocket"), "not-flux"),
        (b"", "unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "unreachable"),
    ],
)
async def test_what_answers_is_not_flux(answer: bytes, code: str) -> None:
    """Every answer has its cause; none raises anything else. Those in HTTP: test_refusal.py."""
    async with http_server(answer) as url:
        with pytest.raises(EndpointError) as caught:
            await Connector(Endpoint.from_url(url, token=TOKEN)).connect(FluxSettings())
    assert caught.value.code == code


async def test_nobody_listens() -> None:
    """A refused TCP connection is unreachable."""
    async with http_server(b"") as url:
        pass
    with pytest.raises(EndpointError) as caught:
        await Connector(Endpoint.from_url(url)).connect(FluxSettings())
    assert caught.value.code == "unreachable"
    assert caught.value.retryable
    assert str(caught.value).endswith("cannot be reached: Connection refused")


async def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows is unreachable, in the resolver's words."""

    async def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(EndpointError, match=r"cannot be reached: Name or service") as caught:
        await Connector(Endpoint.from_url("ws://flux.invalid")).connect(FluxSettings())
    assert caught.value.code == "unreachable"


async def test_tls_where_there_is_none() -> None:
    """wss:// to a port that speaks something else says what may be wrong."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"400 what is this?")
        await writer.drain()

    async with raw_server(handle) as address:
        with pytest.raises(EndpointError, match="wss") as caught:
            await Connector(Endpoint.from_url(f"wss://{address}")).connect(FluxSettings())
    assert caught.value.code == "unreachable"


async def test_certificate_is_verified(tls_server_context: ssl.SSLContext) -> None:
    """A certificate of an authority that nobody trusts is refused, and not tried again."""
    async with raw_server(silent, tls_server_context) as address:
        with pytest.raises(EndpointError) as caught:
            await Connector(Endpoint.from_url(f"wss://{address}")).connect(FluxSettings())
    assert caught.value.code == "unreachable"
    assert not caught.value.retryable
    assert "certificate" in str(caught.value)


async def test_plain_worker(caplog: pytest.LogCaptureFixture) -> None:
    """A Worker without our header is told once; what it would lose silently is refused."""
    async with Simulator() as simulator:
        connector = Connector(Endpoint.from_url(simulator.url))
        assert connector.plain is None
        for _ in range(2):
            await (await connector.connect(FluxSettings(keyterms=("lamp",)))).close()
        assert connector.plain is True
        assert len([one for one in caplog.records if "key terms" in one.getMessage()]) == 1
        for settings in (FluxSettings(mip_opt_out=True), FluxSettings(sample_rate=8000)):
            with pytest.raises(EndpointError, match="deploy the Worker") as caught:
                await connector.connect(settings)
            assert caught.value.code == "refused"


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audio and token go to the endpoint alone, whatever the environment says."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "WS_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with Simulator() as simulator:
        connector = Connector(Endpoint.from_url(simulator.url, route="workers-ai"))
        await (await connector.connect(FluxSettings())).close()


async def test_closing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers the close does not hold us up."""
    monkeypatch.setattr("wyoming_flux.flux.connection.CLOSE_TIMEOUT", 0.05)
    async with Simulator(faults=[parse("slow-reader")]) as simulator:
        connector = Connector(Endpoint.from_url(simulator.url, route="workers-ai"))
        connection = await connector.connect(FluxSettings())
        async with asyncio.timeout(5):
            await connection.close()


async def connected(websocket: ServerConnection) -> None:
    """Be a Flux that says its first message."""
    await websocket.send('{"type":"Connected","request_id":"r","sequence_id":0}')
    await websocket.wait_closed()


async def heard(connector: Connector) -> None:
    """Open a stream, and hear Flux's first message on it."""
    connection = await connector.connect(FluxSettings())
    assert isinstance(await connection.receive(), Connected)
    await connection.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_trusted_certificate(host: str) -> None:
    """With an authority that is trusted a name and an address are spoken to over TLS."""
    authority = trustme.CA()
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(there)
    here = ssl.create_default_context()
    authority.configure_trust(here)
    async with serve(connected, "127.0.0.1", 0, ssl=there) as server:
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint.from_url(f"wss://{host}:{port}", route="workers-ai", token=TOKEN)
        await heard(Connector(endpoint, ssl_context=here))
        wrong = Endpoint.from_url(f"wss://127.0.0.2:{port}", route="workers-ai")
        with pytest.raises(EndpointError) as caught:
            await Connector(wrong, ssl_context=here).connect(FluxSettings())
        assert caught.value.code == "unreachable"
    async with Simulator() as simulator:
        # The same context, as Home Assistant has one for all, where nothing is encrypted.
        plain = Endpoint.from_url(simulator.url, route="workers-ai")
        await heard(Connector(plain, ssl_context=here))


@pytest.fixture
def tls_server_context(tmp_path: Any) -> ssl.SSLContext:
    """Make a server context with a certificate of its own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context
