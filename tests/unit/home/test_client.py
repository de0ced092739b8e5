"""The connection to Home Assistant, over real sockets: what goes wrong, told once and mended."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from tests.support.paper_home import TOKEN, PaperHome
from wyoming_flux.home import HomeAssistant, client, dialogue
from wyoming_flux.home.client import AUTH_PAUSE, FIRST_PAUSE, LONGEST_PAUSE, PATIENT, pause

Behaviour = Callable[[ServerConnection], Awaitable[None]]


class StandIn:
    """A WebSocket server that behaves as Home Assistant, or as it is told to."""

    def __init__(self) -> None:
        """Serve the usual home."""
        self.home = PaperHome()
        self.behaviour: Behaviour = self.behave
        self.status: HTTPStatus | None = None
        """What an upgrade is refused with."""
        self.sockets: list[ServerConnection] = []
        self.url = ""

    async def behave(self, socket: ServerConnection) -> None:
        """Answer all that is asked."""
        await socket.send(self.home.hello)
        async for frame in socket:
            for answer in self.home.answer(str(frame)):
                await socket.send(answer)

    async def _handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        await self.behaviour(socket)

    def _refuse(self, socket: ServerConnection, _: Any) -> Any:
        assert socket.request is not None
        assert socket.request.path == "/api/websocket"
        if self.status is None:
            return None
        refusal = socket.respond(self.status, "no\n")
        refusal.headers["Location"] = "ws://127.0.0.1:9/api/websocket"
        return refusal

    @contextlib.asynccontextmanager
    async def running(self, context: ssl.SSLContext | None = None) -> AsyncGenerator[None]:
        """Listen, with TLS if there is a context."""
        options = {"process_request": self._refuse, "compression": None, "ssl": context}
        async with serve(self._handle, "127.0.0.1", 0, **options) as server:
            where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}/lovelace/0"
            self.url = f"http://{where}" if context is None else f"https://{where}"
            yield


class Waiting:
    """Stands in for ``asyncio.sleep``: notes what was to be waited, and waits to be let go."""

    def __init__(self) -> None:
        """Nothing was waited yet."""
        self.pauses: list[float] = []
        self._came: asyncio.Queue[None] = asyncio.Queue()
        self._go: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        """Take note, and wait."""
        self.pauses.append(seconds)
        self._came.put_nowait(None)
        await self._go.get()

    async def until_failed(self) -> None:
        """Wait until an attempt has ended."""
        async with asyncio.timeout(20):
            await self._came.get()

    def go_on(self) -> None:
        """Let the next attempt begin."""
        self._go.put_nowait(None)


@pytest.fixture
async def stand_in() -> AsyncGenerator[StandIn]:
    """A Home Assistant that listens."""
    made = StandIn()
    async with made.running():
        yield made


@contextlib.asynccontextmanager
async def asking(url: str, token: str = TOKEN) -> AsyncGenerator[tuple[HomeAssistant, Waiting]]:
    """Ask for names until left."""
    waiting = Waiting()
    home = HomeAssistant(url, token, sleep=waiting.sleep, chance=lambda: 0.5)
    task = asyncio.create_task(home.run())
    try:
        yield home, waiting
    finally:
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert task.cancelled()


async def known(home: HomeAssistant, name: str) -> None:
    """Wait until a name is known."""
    async with asyncio.timeout(20):
        while name not in home.names:  # noqa: ASYNC110 - nobody is told of names
            await asyncio.sleep(0.01)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Return level and text of what was said above DEBUG."""
    return [
        (one.levelno, one.getMessage())
        for one in caplog.records
        if one.name.startswith("wyoming_flux") and one.levelno > logging.DEBUG
    ]


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Return all that was said at any level, but by the stand-in."""
    return "\n".join(
        one.getMessage() for one in caplog.records if not one.name.startswith("websockets.server")
    )


async def test_names_come_and_follow_changes(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address as pasted from a browser; the second look is due to an event."""
    monkeypatch.setattr(dialogue, "SETTLE", 0.01)
    monkeypatch.setattr(dialogue, "GAP", 0.02)
    caplog.set_level(logging.DEBUG)
    async with asking(stand_in.url) as (home, _):
        await known(home, "Kitchen")
        stand_in.home.areas[0]["name"] = "Scullery"
        await stand_in.sockets[0].send(stand_in.home.change())
        await known(home, "Scullery")
        assert "Kitchen" not in home.names
    ((level, text),) = told(caplog)
    assert (level, text.split(" are ")[0]) == (logging.INFO, "7 names of the home")
    assert TOKEN not in said(caplog)


async def stall(socket: ServerConnection) -> None:
    """Say nothing."""
    await socket.wait_closed()


async def garbage(socket: ServerConnection) -> None:
    """Say something else."""
    await socket.send("<html>")
    await socket.wait_closed()


async def closes(socket: ServerConnection) -> None:
    """Close at once, with a reason that repeats nothing."""
    await socket.close(1001, "restarting")


async def breaks(socket: ServerConnection) -> None:
    """Break off without a word."""
    socket.transport.abort()


def huge(home: PaperHome) -> Behaviour:
    """Answer the list of devices with more than is read."""

    async def behave(socket: ServerConnection) -> None:
        await socket.send(home.hello)
        async for frame in socket:
            for answer in home.answer(str(frame)):
                if "config/device" in str(frame):
                    await socket.send("[" + " " * client.MAX_MESSAGE)
                await socket.send(answer)

    return behave


def late(home: PaperHome) -> Behaviour:
    """Sign in, and answer everything but what is exposed."""

    async def behave(socket: ServerConnection) -> None:
        await socket.send(home.hello)
        async for frame in socket:
            for answer in home.answer(str(frame)):
                if "expose_entity" not in str(frame):
                    await socket.send(answer)

    return behave


PASSING = {
    "stalls": (stall, "did not answer within"),
    "closes": (closes, "it closed the connection"),
    "breaks": (breaks, "it closed the connection"),
    "late": (late(PaperHome()), "did not answer within"),
    HTTPStatus.BAD_GATEWAY: (None, "it is not ready (HTTP 502)"),
}
LASTING = {
    "garbage": (garbage, "is not Home Assistant"),
    "huge": (huge(PaperHome()), "longer than 4 MiB"),
    HTTPStatus.NOT_FOUND: (None, "is not Home Assistant"),
    HTTPStatus.FOUND: (None, "is not Home Assistant"),
    HTTPStatus.FORBIDDEN: (None, "it refuses this machine (HTTP 403)"),
}


@pytest.mark.parametrize("fault", [*PASSING, *LASTING], ids=str)
async def test_a_fault_is_told_once_and_tried_again(
    stand_in: StandIn,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: Any,
) -> None:
    """One line at first, one more if what might pass has not; names are there once it is over."""
    if fault in ("stalls", "late"):
        monkeypatch.setattr(dialogue, "PATIENCE", 0.05)
    caplog.set_level(logging.DEBUG)
    behaviour, says = {**PASSING, **LASTING}[fault]
    stand_in.behaviour = behaviour or stand_in.behave
    stand_in.status = fault if isinstance(fault, HTTPStatus) else None
    async with asking(stand_in.url) as (home, waiting):
        for _ in range(PATIENT + 1):
            await waiting.until_failed()
            assert home.names == ()
            waiting.go_on()
        await waiting.until_failed()
        levels = [logging.INFO, logging.WARNING] if fault in PASSING else [logging.WARNING]
        assert [level for level, _ in told(caplog)] == levels
        assert all(says in text for _, text in told(caplog))
        monkeypatch.undo()
        stand_in.behaviour, stand_in.status = stand_in.behave, None
        waiting.go_on()
        await known(home, "Kitchen")
    assert told(caplog)[-1][1].startswith("7 names of the home are known")
    assert TOKEN not in said(caplog)
    assert waiting.pauses == [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(PATIENT + 2)]


async def test_a_wrong_token_is_tried_rarely(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """Each attempt is a failed login there: one warning, and an hour until the next."""
    async with asking(stand_in.url, "mistyped-token") as (_, waiting):
        await waiting.until_failed()
        waiting.go_on()
        await waiting.until_failed()
    ((level, text),) = told(caplog)
    assert level == logging.WARNING
    assert "does not take the token. Make a long-lived access token" in text
    assert "mistyped" not in said(caplog)
    assert waiting.pauses == [AUTH_PAUSE, AUTH_PAUSE]


async def test_nobody_is_there(caplog: pytest.LogCaptureFixture, unused_tcp_port: int) -> None:
    """A dead address says what the system says, and what to do if it stays so."""
    caplog.set_level(logging.INFO)
    async with asking(f"127.0.0.1:{unused_tcp_port}") as (_, waiting):
        for _ in range(PATIENT):
            await waiting.until_failed()
            waiting.go_on()
        await waiting.until_failed()
    assert [level for level, _ in told(caplog)] == [logging.INFO, logging.WARNING]
    assert "it cannot be reached: Connection refused. Look whether it runs" in caplog.text


@pytest.mark.parametrize(
    ("scheme", "said", "says"),
    [
        ("", b"", "it hangs up instead of answering. Look whether it runs; if it has a cert"),
        ("", b"220 mail.example ESMTP\r\n\r\n", "is not Home Assistant"),
        ("", b"HTTP/1.1 101 X\r\n\r\n", "is not Home Assistant"),
        ("", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "is not Home Assistant"),
        # As Home Assistant's web server answers TLS where there is none.
        (
            "https://",
            b"HTTP/1.0 400 Bad Request\r\n\r\n",
            "no encrypted connection could be made. Is it https://",
        ),
    ],
)
async def test_no_websocket_at_all(
    caplog: pytest.LogCaptureFixture, scheme: str, said: bytes, says: str
) -> None:
    """Another port of the machine, a plain address where TLS is spoken, or the other way round."""
    caplog.set_level(logging.INFO)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (reader.read(1) if scheme else reader.readuntil(b"\r\n\r\n"))
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asking(f"{scheme}127.0.0.1:{port}") as (_, waiting):
            await waiting.until_failed()
    assert says in caplog.text


async def test_a_certificate_is_verified(caplog: pytest.LogCaptureFixture) -> None:
    """The token goes to nobody whose certificate is not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    made = StandIn()
    async with made.running(context), asking(made.url) as (_, waiting):
        await waiting.until_failed()
    assert "its certificate cannot be trusted" in caplog.text
    assert made.sockets == []


async def test_a_name_that_no_host_can_have(caplog: pytest.LogCaptureFixture) -> None:
    """It reads like an address, and the resolver does not take it."""
    async with asking("http://home..assistant") as (_, waiting):
        await waiting.until_failed()
    assert "that is not the name of a host. Check --home-assistant." in caplog.text


async def test_names_outlive_a_restart(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    """While Home Assistant restarts the names stay; a restart is no warning."""
    caplog.set_level(logging.INFO)
    async with asking(stand_in.url) as (home, waiting):
        await known(home, "Kitchen")
        stand_in.home.areas[0]["name"] = "Scullery"
        await stand_in.sockets[0].close()
        await waiting.until_failed()
        assert "Kitchen" in home.names
        waiting.go_on()
        await known(home, "Scullery")
    assert {level for level, _ in told(caplog)} == {logging.INFO}
    assert waiting.pauses == [FIRST_PAUSE]


async def test_a_fault_of_ours_ends_nothing(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in this program is in the log with its traceback, and the next attempt comes."""
    monkeypatch.setattr(dialogue, "names_of", lambda *_: 1 / 0)
    async with asking(stand_in.url) as (home, waiting):
        await waiting.until_failed()
        monkeypatch.undo()
        waiting.go_on()
        await known(home, "Kitchen")
    assert "ZeroDivisionError" in caplog.text
    assert waiting.pauses == [FIRST_PAUSE]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_pauses_are_bounded(chance: float) -> None:
    """From some seconds to some minutes, spread; after a wrong token about an hour."""
    pauses = [pause(failures, chance, auth=False) for failures in (1, 2, 3, 7, 10_000)]
    assert pauses == sorted(pauses)
    assert 3 < pauses[0] < 7
    assert pauses[-1] == pauses[-2] < 400
    assert 2600 < pause(1, chance, auth=True) < 4600
