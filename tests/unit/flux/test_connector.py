"""Connections over real loopback sockets: what is sent, and what each fault is called."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import trustme
from websockets.asyncio.server import Request, Response, ServerConnection, serve

from wyoming_flux.errors import ConnectionLost, EndpointError
from wyoming_flux.flux import Connected, Connector, Endpoint, TurnInfo
from wyoming_flux.flux.messages import CLOSE_STREAM
from wyoming_flux.settings import FluxSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import parse

TOKEN = "hush-hush-token"


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_server(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve TCP on loopback; gives ``host:port``, and leaves no connection behind."""
    connections: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        if connections:
            await asyncio.wait(connections)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def http_server(answer: bytes, *, hang: bool = False) -> AsyncIterator[str]:
    """Serve the same bytes to every request, whatever it is."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if hang:
            await reader.read()
        writer.write(answer)
        await writer.drain()

    async with raw_server(handle) as address:
        yield f"ws://{address}"


def response(status: str, body: str = "", **headers: str) -> bytes:
    """Return an HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


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
        assert caught.value.close_code == 1006
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
        (response("302 Found", Location="https://me.cloudflareaccess.com/login"), "auth"),
        (response("301 Moved", Location="https://elsewhere.example/"), "endpoint-not-found"),
        (response("200 OK", "<html>hello</html>"), "not-flux"),
        (response("404 Not Found"), "endpoint-not-found"),
        (response("503 Busy"), "unreachable"),
        (response("101 Switching Protocols", Upgrade="websocket"), "not-flux"),
        (b"", "unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "unreachable"),
    ],
)
async def test_what_answers_is_not_flux(answer: bytes, code: str) -> None:
    """Every answer to the upgrade has its cause; none raises anything else."""
    async with http_server(answer) as url:
        with pytest.raises(EndpointError) as caught:
            await Connector(Endpoint.from_url(url, token=TOKEN)).connect(FluxSettings())
    assert caught.value.code == code


async def test_no_answer() -> None:
    """An endpoint that says nothing is a timeout, after the bound that was given."""
    async with http_server(b"", hang=True) as url:
        with pytest.raises(EndpointError) as caught:
            await Connector(Endpoint.from_url(url)).connect(FluxSettings(), timeout=0.05)
    assert caught.value.code == "timeout"


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

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(handle, tls_server_context) as address:
        with pytest.raises(EndpointError) as caught:
            await Connector(Endpoint.from_url(f"wss://{address}")).connect(FluxSettings())
    assert caught.value.code == "unreachable"
    assert not caught.value.retryable
    assert "certificate" in str(caught.value)


EVERYTHING = FluxSettings(
    eot_threshold=0.8, eager_eot_threshold=0.4, keyterms=("lamp", "sofa"), mip_opt_out=True, tag="x"
)
KEPT = {"encoding", "sample_rate", "mip_opt_out"}
THRESHOLDS = {"eot_threshold", "eager_eot_threshold", "eot_timeout_ms"}
ALL = {*KEPT, *THRESHOLDS, "keyterm", "tag"}


class Picky:
    """An endpoint that does not take some parameters, and says so as it was told to."""

    def __init__(self, *refuses: str, answer: bytes, names: bool = False) -> None:
        self.refuses = set(refuses)
        self.answer = answer
        self.names = names
        self.asked: list[set[str]] = []
        self.terms: list[list[str]] = []
        self.url = ""

    async def __call__(self, websocket: ServerConnection) -> None:
        await websocket.send('{"type":"Connected","request_id":"r","sequence_id":0}')
        await websocket.wait_closed()

    def process(self, connection: ServerConnection, request: Request) -> Response | None:
        """Take or refuse an upgrade request."""
        query = parse_qsl(urlsplit(request.path).query)
        self.asked.append({name for name, _ in query})
        self.terms.append([value for name, value in query if name == "keyterm"])
        wrong = sorted({name for name, _ in query if name in self.refuses})
        if not wrong:
            return None
        status, _, body = self.answer.partition(b" ")
        if self.names:
            body = b'{"code":"INVALID_PARAMETER","description":"%s is wrong"}' % wrong[0].encode()
        answer = connection.respond(HTTPStatus(int(status)), "")
        answer.body = body
        del answer.headers["Content-Length"]
        answer.headers["Content-Length"] = str(len(body))
        return answer

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Picky"]:
        """Serve on loopback."""
        async with serve(self, "127.0.0.1", 0, process_request=self.process) as server:
            host, port = server.sockets[0].getsockname()
            self.url = f"ws://{host}:{port}"
            yield self


async def turn(connector: Connector, settings: FluxSettings = EVERYTHING) -> tuple[str, ...]:
    """Open a stream, and hear Flux's first word on it; returns what was left out."""
    connection = await connector.connect(settings)
    assert isinstance(await connection.receive(), Connected)
    await connection.close()
    return connection.dropped


ANSWERS = [
    b'400 {"err_code":"Bad Request","err_msg":"no"}',
    b'500 {"internalCode":5030,"name":"AiError","description":"no"}',
    b'400 {"errors":[{"code":5004,"message":"Invalid data"}]}',
    b'502 {"error":{"source":"upstream","code":"no-websocket","message":"no"}}',
    b"200 {}",
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("route", ["workers-ai", "deepgram"])
async def test_refused_thresholds_take_no_key_terms(answer: bytes, route: str) -> None:
    """An endpoint that refuses eot_* alone keeps its key terms, on every route."""
    async with Picky("eot_threshold", answer=answer).serving() as picky:
        connector = Connector(Endpoint.from_url(picky.url, route=route))
        assert set(await turn(connector)) == THRESHOLDS
    assert len(picky.asked) == 2
    assert picky.terms == [["lamp", "sofa"]] * 2
    assert picky.asked[1] >= KEPT


@pytest.mark.parametrize(
    ("refuses", "names", "dropped"),
    [
        (["keyterm"], False, {"keyterm"}),
        (["keyterm", "eot_timeout_ms"], False, ALL - KEPT),
        (["tag"], False, ALL - KEPT),
        (["eot_timeout_ms"], True, {"eot_timeout_ms"}),
        (["keyterm", "eot_timeout_ms"], True, {"keyterm", "eot_timeout_ms"}),
        (["tag"], True, {"tag"}),
    ],
)
async def test_as_little_as_possible_is_left_out(
    refuses: list[str], names: bool, dropped: set[str]
) -> None:
    """First what is named, then groups one by one; privacy and what gives sense never."""
    async with Picky(*refuses, answer=b"400 no", names=names).serving() as picky:
        assert (
            set(await turn(Connector(Endpoint.from_url(picky.url, route="workers-ai")))) == dropped
        )
    assert picky.asked[0] == ALL
    assert picky.asked[-1] == ALL - dropped
    assert len(picky.asked) <= 4


async def test_a_refusal_is_remembered_for_an_hour_once_it_is_proven(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Twice refused and twice heard without: left out for an hour, said once, then tried again."""
    now = 1000.0
    async with Picky("eot_timeout_ms", answer=b"400 no").serving() as picky:
        endpoint = Endpoint.from_url(picky.url, route="workers-ai")
        connector = Connector(endpoint, clock=lambda: now)
        settings = FluxSettings(keyterms=("lamp",))
        for known in ((), (), ("eot_timeout_ms",)):
            assert connector.dropped == known
            assert await turn(connector, settings) == ("eot_timeout_ms",)
        assert len(picky.asked) == 5
        now += 3601
        assert connector.dropped == ()
        picky.refuses.clear()
        assert await turn(connector, settings) == ()
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "without eot_timeout_ms" in warnings[0].getMessage()


async def test_one_5030_changes_nothing_for_the_next(caplog: pytest.LogCaptureFixture) -> None:
    """Too many connections at once look like wrong parameters: one such answer proves nothing."""
    faults = [parse(f"refuse:status=500,code=5030,connection={number}") for number in (1, 4)]
    async with Simulator(faults=faults) as simulator:
        connector = Connector(Endpoint.from_url(simulator.url, route="workers-ai"))
        for dropped in (True, False, True, False):
            assert bool(await turn(connector)) is dropped
            assert connector.dropped == ()
        asked = [{name for name, _ in one.query} for one in simulator.connections]
    assert asked[2] == ALL
    assert asked[5] == ALL
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_without_a_word_of_flux_nothing_is_proven() -> None:
    """A stream that opened and said nothing has not shown that it works."""
    async with Picky("eot_timeout_ms", answer=b"400 no").serving() as picky:
        connector = Connector(Endpoint.from_url(picky.url, route="workers-ai"))
        for _ in range(3):
            await (await connector.connect(FluxSettings())).close()
        assert connector.dropped == ()


async def test_terms_of_one_client_take_nothing_from_another() -> None:
    """What is refused with a client's own terms is still offered to those without them."""
    async with Picky("keyterm", answer=b"400 no").serving() as picky:
        connector = Connector(Endpoint.from_url(picky.url, route="workers-ai"))
        for _ in range(2):
            await turn(connector, FluxSettings(keyterms=("lamp", "my own")))
        picky.refuses.clear()
        picky.terms.clear()
        await turn(connector, FluxSettings(keyterms=("lamp",)))
        await turn(connector, FluxSettings(keyterms=("lamp", "my own")))
        await turn(connector, FluxSettings(keyterms=("lamp", "my own", "more")))
    assert picky.terms == [["lamp"], [], ["more"]]


async def test_a_refusal_of_the_least_is_told_as_it_was() -> None:
    """Where nothing can be left out any more, the first reason is told, and nothing is dropped."""
    async with Picky("encoding", answer=b'400 {"err_msg":"first"}').serving() as picky:
        connector = Connector(Endpoint.from_url(picky.url, route="workers-ai"))
        with pytest.raises(EndpointError, match="first") as caught:
            await connector.connect(EVERYTHING)
        assert caught.value.code == "refused"
        assert connector.dropped == ()
        assert [one for one in picky.asked if not one >= KEPT] == []
        assert len(picky.asked) == 4
        with pytest.raises(EndpointError):
            await connector.connect(FluxSettings(eot_timeout_ms=5000))
        assert len(picky.asked) == 5


async def test_5030_whatever_is_left_out_may_pass() -> None:
    """Where parameters are not the reason, it is the crowd, and worth another attempt."""
    async with Picky("encoding", answer=ANSWERS[1]).serving() as picky:
        with pytest.raises(EndpointError, match="too many connections") as caught:
            await Connector(Endpoint.from_url(picky.url, route="workers-ai")).connect(EVERYTHING)
    assert caught.value.code == "unreachable"
    assert caught.value.retryable
    assert caught.value.upstream_code == "5030"


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


async def test_no_secret_gets_out(caplog: pytest.LogCaptureFixture) -> None:
    """Token and headers are in no log line (at DEBUG), no exception and no representation."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("wyoming_flux.websocket").setLevel(logging.DEBUG)
    echo = response("403 Forbidden", f'{{"message": "token {TOKEN} is wrong"}}')
    async with http_server(echo) as url:
        endpoint = Endpoint.from_url(url, token=TOKEN, headers={"X-Secret": "psst-psst"})
        with pytest.raises(EndpointError) as caught:
            await Connector(endpoint).connect(FluxSettings())
    said = "".join(
        [
            repr(caught.value),
            repr(caught.value.__cause__),
            repr(caught.value.__dict__),
            repr(endpoint),
            caplog.text,
        ]
    )
    assert TOKEN not in said
    assert "psst-psst" not in said


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audio and token go to the endpoint alone, whatever the environment says."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "WS_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with Simulator() as simulator:
        connector = Connector(Endpoint.from_url(simulator.url, route="workers-ai"))
        await (await connector.connect(FluxSettings())).close()


async def test_closing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers the close does not hold us up."""
    monkeypatch.setattr("wyoming_flux.flux.connection._CLOSE_TIMEOUT", 0.05)
    async with Simulator(faults=[parse("slow-reader")]) as simulator:
        connector = Connector(Endpoint.from_url(simulator.url, route="workers-ai"))
        connection = await connector.connect(FluxSettings())
        async with asyncio.timeout(5):
            await connection.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_trusted_certificate(host: str) -> None:
    """With an authority that is trusted a name and an address are spoken to over TLS."""
    authority = trustme.CA()
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(there)
    here = ssl.create_default_context()
    authority.configure_trust(here)
    async with serve(Picky(answer=b""), "127.0.0.1", 0, ssl=there) as server:
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint.from_url(f"wss://{host}:{port}", route="workers-ai", token=TOKEN)
        assert await turn(Connector(endpoint, ssl_context=here)) == ()
        wrong = Endpoint.from_url(f"wss://127.0.0.2:{port}", route="workers-ai")
        with pytest.raises(EndpointError) as caught:
            await Connector(wrong, ssl_context=here).connect(FluxSettings())
        assert caught.value.code == "unreachable"
    async with Simulator() as simulator:
        # The same context, as Home Assistant has one for all, where nothing is encrypted.
        plain = Endpoint.from_url(simulator.url, route="workers-ai")
        assert await turn(Connector(plain, ssl_context=here)) == ()


@pytest.fixture
def tls_server_context(tmp_path: Any) -> ssl.SSLContext:
    """Make a server context with a certificate of its own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context
