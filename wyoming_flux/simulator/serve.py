"""The simulator on a socket."""

import asyncio
import logging
import socket
import weakref
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from websockets import http11
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from .flux import LocalFlux, Upgrade
from .profiles import ABORTED, NO_CODE
from .session import FLUSH_SECONDS, INTERNAL_ERROR, Close, FluxSession
from .upgrade import Refusal, UpgradeRequest

_LOGGER: Final = logging.getLogger(__name__)
# At DEBUG the library prints handshakes, and with them tokens.
_LOGGER.setLevel(logging.INFO)
_CLOSE_SECONDS: Final = 2.0
_LARGEST_MESSAGE: Final = 32 * 1024 * 1024
"""What Cloudflare's Workers take in one message."""
_LONGEST_LINE: Final = 64 * 1024
_RECEIVE_BUFFER: Final = 64 * 1024
"""Small, so that a client feels the limited ingest rate instead of filling the kernel."""


class Simulator(LocalFlux):
    """A local Flux on a WebSocket: ``async with Simulator(...) as sim: connect(sim.url)``.

    Arguments are those of :class:`LocalFlux`, and ``uri``, where port 0 takes any free port.
    """

    def __init__(self, *, uri: str = "ws://127.0.0.1:0", **flux: Any) -> None:
        """Only remember; the port is opened on entering."""
        super().__init__(**flux)
        self._uri = uri
        self._server: Server | None = None
        self._opened: weakref.WeakKeyDictionary[
            ServerConnection, tuple[Upgrade, FluxSession | Refusal]
        ] = weakref.WeakKeyDictionary()
        self._alive: weakref.WeakSet[ServerConnection] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.url = uri

    async def __aenter__(self) -> Self:
        """Listen; raises OSError where the address cannot be used."""
        # 100 key terms of 100 characters must fit into the request line.
        http11.MAX_LINE_LENGTH = max(http11.MAX_LINE_LENGTH, _LONGEST_LINE)
        parts = urlsplit(self._uri)
        host, port = parts.hostname or "127.0.0.1", parts.port or 0
        listener = socket.create_server((host, port), family=_family(host))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        port = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"ws://{shown}:{port}"
        self._server = await serve(
            self._handle,
            sock=listener,
            create_connection=self._made,  # type: ignore[arg-type]  # only called, never subclassed
            process_request=self._upgrade,
            process_response=self._decorate,
            select_subprotocol=lambda _, offered: offered[0] if "token" in offered[:1] else None,
            compression=None,
            ping_interval=None,
            close_timeout=_CLOSE_SECONDS,
            open_timeout=60,
            max_size=_LARGEST_MESSAGE,
            logger=_LOGGER,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and drop what is still connected."""
        if self._server is None:
            return
        self._closing = True
        self._server.close(close_connections=False)
        for websocket in list(self._alive):
            websocket.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await self._server.wait_closed()
        self._server = None
        self._closing = False

    def extra_headers(self) -> Mapping[str, str]:
        """Return headers for accepted upgrades; who plays what stands before Flux overrides it."""
        return {}

    def _made(self, *args: Any, **options: Any) -> ServerConnection:
        """Make the library's end of a TCP connection, known to us before it says anything."""
        return _Tracked(self._track, *args, **options)

    def _track(self, websocket: ServerConnection) -> None:
        self._alive.add(websocket)
        if self._closing:
            websocket.transport.abort()

    async def _upgrade(
        self, websocket: ServerConnection, request: http11.Request
    ) -> Response | None:
        if request.headers.get("upgrade", "").lower() != "websocket":
            return None  # the library answers 426
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        upgrade, answer = self.open(UpgradeRequest(request.path, headers))
        self._opened[websocket] = upgrade, answer
        await asyncio.sleep(upgrade.answer_delay)
        return _response(answer) if isinstance(answer, Refusal) else None

    def _decorate(
        self, websocket: ServerConnection, request: http11.Request, response: Response
    ) -> None:
        upgrade, answer = self._opened.get(websocket, (None, None))
        if upgrade is not None and isinstance(answer, FluxSession):
            response.headers[self.profile.request_id_header] = upgrade.request_id
            for name, value in self.extra_headers().items():
                response.headers[name] = value

    async def _handle(self, websocket: ServerConnection) -> None:
        _, session = self._opened.pop(websocket)
        if isinstance(session, FluxSession):
            await _carry(websocket, session)


async def _carry(websocket: ServerConnection, session: FluxSession) -> None:
    """Carry frames between a WebSocket and a session until one side closes."""
    loop = asyncio.get_running_loop()
    try:
        session.start(loop.time())
        while True:
            now = loop.time()
            await _advance(session, now)
            while (frame := session.next_to_send(now)) is not None:
                await _send(websocket, session, frame)
            deadline = session.deadline
            if session.room:
                await _receive(websocket, session, deadline)
            elif session.closed:
                return
            elif session.hurry:
                session.lost(_code(websocket))
            else:
                wait = None if deadline is None else max(0.0, deadline - loop.time())
                gone = websocket.connection_lost_waiter
                await asyncio.wait([gone], timeout=wait)
                session.hurry = gone.done()
    except Exception:
        # Whatever a recognizer raises: its client must not be left hanging.
        _LOGGER.exception("the session failed")
        session.traffic.close_code = INTERNAL_ERROR
        await _close(websocket, Close(INTERNAL_ERROR))
    finally:
        session.end()


async def _advance(session: FluxSession, now: float) -> None:
    """Let the session work: in a thread where its recognizer takes long."""
    if not session.blocking:
        return
    thread = asyncio.get_running_loop().run_in_executor(None, session.advance, now)
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        # The recognizer must not be given up while its thread still uses it.
        await asyncio.wait([thread])
        raise


async def _receive(
    websocket: ServerConnection, session: FluxSession, deadline: float | None
) -> None:
    """Wait for a frame, until the deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            frame = await websocket.recv()
    except TimeoutError:
        return
    except ConnectionClosed:
        session.lost(_code(websocket))
        return
    session.receive(frame, asyncio.get_running_loop().time())


async def _send(
    websocket: ServerConnection, session: FluxSession, frame: str | bytes | Close
) -> None:
    if isinstance(frame, Close):
        await _close(websocket, frame)
        return
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await websocket.send(frame)
    except TimeoutError:
        # The client does not read.
        websocket.transport.abort()
        session.lost(ABORTED)
    except ConnectionClosed:
        session.hurry = True  # what it sent before is still in the library's queue


async def _close(websocket: ServerConnection, close: Close) -> None:
    """Close as the session wants it; bounded, never raises."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            if close.code == ABORTED:
                # FIN rather than RST: what was sent before must still arrive.
                if websocket.transport.can_write_eof():
                    websocket.transport.write_eof()
                await websocket.wait_closed()
            elif close.code == NO_CODE:
                await websocket.close(None)  # type: ignore[arg-type]  # its protocol takes None
            else:
                await websocket.close(close.code, close.reason)
    except (TimeoutError, OSError, RuntimeError):
        pass  # the client does not answer the close
    finally:
        websocket.transport.abort()


def _code(websocket: ServerConnection) -> int:
    return websocket.close_code or ABORTED


class _Tracked(ServerConnection):
    """Tells when its TCP connection is made: the library knows it only after the handshake."""

    def __init__(
        self, track: Callable[[ServerConnection], None], *args: Any, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._track = track

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._track(self)


def _response(refusal: Refusal) -> Response:
    headers = Headers()
    for name, value in refusal.headers.items():
        headers[name] = value
    headers["content-length"] = str(len(refusal.body))
    headers["connection"] = "close"
    try:
        phrase = HTTPStatus(refusal.status).phrase
    except ValueError:  # a fault may use any number
        phrase = "Refused"
    return Response(refusal.status, phrase, headers, refusal.body)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
