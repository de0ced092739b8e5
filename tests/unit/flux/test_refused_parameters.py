"""Endpoints that do not take some parameters: what is left out, remembered, and for whom."""

import contextlib
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection, serve

from wyoming_flux.errors import EndpointError
from wyoming_flux.flux import Connected, Connector, Endpoint
from wyoming_flux.settings import FluxSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import parse

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
