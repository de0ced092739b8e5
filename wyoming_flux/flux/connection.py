"""One WebSocket to Flux: frames out, messages in, every wait bounded."""

import asyncio
import itertools
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)

from wyoming_flux.errors import (
    CertificateInvalid,
    ConnectionLost,
    EndpointError,
    EndpointNotFound,
    FluxTimeout,
    NotFlux,
    Unreachable,
    one_line,
    os_reason,
)
from wyoming_flux.websocket import CLOSE_TIMEOUT, PlainConnect

from .dial import Dialler
from .endpoint import Endpoint
from .learnt import Facts
from .messages import Connected, FluxFault, Message, TurnInfo, described, parse
from .refusal import REQUEST_IDS, refusal

WORKER_HEADER: Final = "x-wyoming-flux-worker"
"""Response header by which our Worker says that it honours parameters."""

_LONGEST_BODY: Final = 4096
_MAX_MESSAGE: Final = 1 << 20
_MAX_QUEUE: Final = 64


_LOGGER: Final = logging.getLogger(__name__)
"""At DEBUG it tells all but the audio; what was said only to who asked for texts."""
_NUMBERS: Final = itertools.count(1)


class FluxConnection:
    """An open stream to Flux; made by :func:`open_connection`."""

    def __init__(
        self,
        websocket: ClientConnection,
        *,
        connect_ms: float,
        endpoint: Endpoint,
        tell_texts: bool = False,
    ) -> None:
        """Take over an open WebSocket."""
        self._websocket = websocket
        self._endpoint = endpoint
        self.facts = Facts()
        """What was known of the endpoint when this stream opened."""
        self.on_worked: Callable[[], None] | None = None
        """Called once, when Flux says its first word: it has taken what it was asked for."""
        self.connect_ms = connect_ms
        """Milliseconds from the look-up to the open socket."""
        self.dropped: tuple[str, ...] = ()
        """Names of parameters that had to be left out."""
        self.attempts = 1
        """Upgrades that were tried for this connection."""
        # Asked once: what is not told must cost nothing per message.
        self._told = _LOGGER.isEnabledFor(logging.DEBUG)
        self._tell_texts = tell_texts
        self._name = f"{endpoint.host} #{next(_NUMBERS)}"
        if self._told:
            _LOGGER.debug(
                "%s: open after %.0f ms, request id %s", self._name, connect_ms, self.request_id
            )

    @property
    def host(self) -> str:
        """``host[:port]`` of the other side, for messages."""
        return self._endpoint.host

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the 101 response."""
        response = self._websocket.response
        return response.headers if response is not None else {}

    @property
    def request_id(self) -> str | None:
        """The request id of the endpoint, for its support."""
        found = (self.headers.get(name) for name in REQUEST_IDS)
        return next((str(one) for one in found if one), None)

    async def send_audio(self, pcm: bytes) -> None:
        """Send one frame of linear16 audio, at least one sample. Raises :class:`ConnectionLost`."""
        if not pcm or len(pcm) % 2:
            # Flux takes an empty frame for the end, and an odd one shifts all samples after it.
            raise ValueError("a frame must hold whole samples, and at least one")
        await self._send(pcm)

    async def send_control(self, message: str) -> None:
        """Send a control message of :mod:`.messages`. Raises :class:`ConnectionLost`."""
        if self._told:
            _LOGGER.debug("%s: we say %s", self._name, message)
        await self._send(message)

    async def receive_frame(self) -> str | bytes:
        """Wait for the next frame as it came. Raises :class:`ConnectionLost`."""
        try:
            return await self._websocket.recv()
        except ConnectionClosed as err:
            raise self._lost(err) from err

    async def receive(self) -> Message:
        """Wait for the next message. Raises :class:`ConnectionLost` when there will be none."""
        message = parse(await self.receive_frame())
        if self._told:
            said = described(message, text=self._tell_texts)
            _LOGGER.debug("%s: %s", self._name, self._endpoint.hide(said))
        if isinstance(message, FluxFault):
            return FluxFault(message.code, self._endpoint.hide(message.description))
        if self.on_worked is not None and isinstance(message, Connected | TurnInfo):
            worked, self.on_worked = self.on_worked, None
            worked()
        return message

    async def close(self) -> None:
        """Close within a second, whatever the other side does; never raises, idempotent."""
        if self._told:
            self._told = False
            _LOGGER.debug("%s: we close", self._name)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._websocket.close()
        except TimeoutError:
            pass  # the abort below ends it
        finally:
            self._websocket.transport.abort()

    async def _send(self, data: bytes | str) -> None:
        try:
            await self._websocket.send(data)
        except ConnectionClosed as err:
            raise self._lost(err) from err

    def _lost(self, err: ConnectionClosed) -> ConnectionLost:
        received = err.rcvd
        code = received.code if received is not None else 1006
        reason = received.reason if received is not None else ""
        said = one_line(self._endpoint.hide(reason))
        if self._told:
            # Sender and receiver both get to know it.
            self._told = False
            _LOGGER.debug("%s: closed with %d%s", self._name, code, f" ({said})" if said else "")
        return ConnectionLost(
            f"the connection to {self._endpoint.host} was closed in the middle of a turn,"
            f" code {code}{f' ({said})' if said else ''}",
            close_code=code,
            upstream_code=str(code),
            request_id=self.request_id,
        )


async def open_connection(
    endpoint: Endpoint,
    url: str,
    dialler: Dialler,
    *,
    ssl_context: ssl.SSLContext | None,
    tell_texts: bool = False,
) -> FluxConnection:
    """Open a WebSocket to ``url``; to be bounded by the caller.

    Raises subclasses of :class:`EndpointError` alone; no message of
    theirs holds the token.
    """
    options: dict[str, Any] = {"ssl": ssl_context} if endpoint.secure else {}
    started = time.perf_counter()
    try:
        websocket = await PlainConnect(
            url,
            sock=await dialler.connect(),
            additional_headers=endpoint.request_headers(),
            # Deadlines on Flux's own messages tell more than pings, which Cloudflare answers.
            ping_interval=None,
            max_size=_MAX_MESSAGE,
            max_queue=_MAX_QUEUE,
            **options,
        )
    except (OSError, WebSocketException, ValueError, EOFError) as err:
        # Not "from err": the library's exceptions hold the request, and with it the token.
        raise _cause(err, endpoint) from None
    elapsed = (time.perf_counter() - started) * 1000
    return FluxConnection(websocket, connect_ms=elapsed, endpoint=endpoint, tell_texts=tell_texts)


def _cause(err: Exception, endpoint: Endpoint) -> EndpointError:
    host = endpoint.host
    match err:
        case InvalidStatus():
            response = err.response
            body = bytes(response.body or b"")
            error = refusal(response.status_code, response.headers, body, host)
            error.args = (endpoint.hide(str(error)),)
            error.body = endpoint.hide(body.decode("utf-8", "replace"))[:_LONGEST_BODY]
            _LOGGER.debug(
                "%s: refused with %d: %s", host, response.status_code, " ".join(error.body.split())
            )
            return error
        case TimeoutError():
            return FluxTimeout(f"{host} did not answer in time")
        case ssl.SSLCertVerificationError():
            return CertificateInvalid(
                f"the certificate of {host} cannot be trusted: {err.verify_message}"
            )
        case ssl.SSLError():
            return Unreachable(
                f"no encrypted connection to {host}: is it wss:// that is spoken there?"
            )
        case InvalidMessage() | EOFError():
            return Unreachable(f"{host} closed the connection instead of answering")
        case UnicodeError():
            return EndpointNotFound(f"{host} is not a host name: check the URL")
        case InvalidHandshake() | ValueError():
            return NotFlux(f"{host} does not speak WebSocket as Flux does")
        case OSError():
            return Unreachable(f"{host} cannot be reached: {os_reason(err)}")
        case _:
            return Unreachable(f"no connection to {host}: {type(err).__name__}")
