"""Listens, lets clients in, watches over them, and stops gracefully."""

import asyncio
import contextlib
import functools
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from wyoming_flux import __version__
from wyoming_flux.address import Address
from wyoming_flux.errors import Busy, InvalidSetting, os_reason
from wyoming_flux.flux import Connector, Route
from wyoming_flux.flux.order import Way, in_order
from wyoming_flux.flux.watch import watch
from wyoming_flux.minutes import DailyMinutes
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings
from wyoming_flux.utterance import Capture, Report, Transcriber

from .client import UNIX, Client
from .events import encode
from .settings import Limits, is_allowed
from .shared import MakeTranscriber, Shared
from .standing import Standing

_LOGGER = logging.getLogger(__name__)

_SETTLE: Final = 0.1
"""Seconds for what is on its way when the server is stopped."""
_MOST_STRANGERS: Final = 100
"""Addresses of refused clients that are remembered, so that each is logged once."""
_BACKLOG: Final = 256
_PROBE_TIMEOUT: Final = 1.0

_CLOUDFLARE: Final = Attribution(
    name="Cloudflare Workers AI",
    url="https://developers.cloudflare.com/workers-ai/models/flux/",
)
_MOONSHINE: Final = Attribution(
    name="Moonshine AI", url="https://github.com/moonshine-ai/moonshine"
)
_DEEPGRAM: Final = Attribution(name="Deepgram", url="https://deepgram.com/")


class Announced(Way, Protocol):
    """One of which the server tells clients what it understands."""

    def languages(self, model: str, /) -> tuple[str, ...]:
        """Return the language tags that it understands, if Flux's model is *model*."""


class Server:
    """A Wyoming speech-to-text server.

    It asks ``connector``, and the ``fallbacks`` in their order where that fails; it does not own
    them.

    ``minutes`` counts those of the day, and is made from the settings where it is not given;
    ``keyterms`` is asked at each utterance for terms weaker than the configured ones; ``on_report``
    is told what became of each, and ``capture`` keeps them (whoever made it closes it). ``limits``
    and ``transcriber`` are for tests.

    Raises :class:`~wyoming_flux.errors.InvalidSetting` for settings the endpoint cannot carry.
    """

    def __init__(
        self,
        connector: Announced,
        flux: FluxSettings,
        utterance: UtteranceSettings,
        server: ServerSettings,
        *,
        fallbacks: Sequence[Way] = (),
        minutes: DailyMinutes | None = None,
        keyterms: Callable[[], Iterable[str]] | None = None,
        on_report: Callable[[Report], None] | None = None,
        capture: Capture | None = None,
        limits: Limits | None = None,
        transcriber: MakeTranscriber | None = None,
    ) -> None:
        """Prepare; nothing listens yet."""
        for one in (connector, *fallbacks):
            one.check(flux)

        def make(
            settings: FluxSettings, on_partial: Callable[[str], None], on_known: Callable[[], None]
        ) -> Transcriber:
            ordered = in_order(
                (connector, *fallbacks),
                settings,
                now=time.monotonic(),
                minutes=not self.minutes.exhausted,
                watched=bool(fallbacks),
            )
            if not ordered:
                # Those who cost nothing do not know the language.
                self.minutes.check()
            return Transcriber(
                ordered,
                settings,
                utterance,
                on_partial=on_partial,
                on_known=on_known,
                capture=capture,
            )

        self.minutes: Final = minutes or DailyMinutes(server.daily_minutes)
        endpoint = connector.endpoint if isinstance(connector, Connector) else None
        self.standing: Final = Standing(connector.name, endpoint)
        """What is told of the endpoint, also by whoever looks at it beside the server."""
        self.uri = server.uri
        """Where the server listens; with the real port once it was started."""
        self._settings = server
        self._limits = limits or Limits()
        self._info = encode(build_info(server, connector, flux.model).event())
        self._shared = Shared(
            flux=flux,
            utterance=utterance,
            languages=connector.languages(flux.model),
            host=connector.name,
            standing=self.standing,
            transcriber=transcriber or make,
            minutes=self.minutes,
            free=not all(one.billed for one in (connector, *fallbacks)),
            limits=self._limits,
            keyterms=keyterms,
            on_report=on_report,
            debug=server.debug,
        )
        self._clients: set[Client] = set()
        self._empty = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._watched = (connector, *fallbacks) if fallbacks else ()
        self._watching: list[asyncio.Task[None]] = []
        self._strangers: set[str] = set()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(not client.closing for client in self._clients)

    async def start(self) -> None:
        """Listen; raises :class:`~wyoming_flux.errors.InvalidSetting` (``uri``) if impossible."""
        self._shared.stopping = None
        self._listener, address = await listen(
            self._settings.address, functools.partial(Client, self._shared, self._info, self)
        )
        self.uri = str(address)
        tasks = {"watchdog": self._watch()}
        if self._watched:
            tasks["fallbacks"] = watch(self._watched, self._shared.flux)
        self._watching = [
            asyncio.create_task(one, name=f"wyoming-flux {name}") for name, one in tasks.items()
        ]
        _LOGGER.info("Listening on %s", self.uri)

    async def stop(self, grace: float = 5.0) -> None:
        """Stop listening, let running utterances finish, answer the rest with an error, and close.

        They have *grace* seconds; with what Flux and the clients then need to close, all is over
        two seconds later. May be called again, and without :meth:`start`.
        """
        error = Busy("The server is stopping; try again in a moment.")
        end = asyncio.get_running_loop().time() + grace
        self._close_listener()
        try:
            if self._clients:
                # What clients have sent by now may be an utterance, though nobody has read it yet.
                await asyncio.sleep(min(_SETTLE, grace))
            self._shared.stopping = error
            for client in list(self._clients):
                if not client.busy:
                    client.close()
            await self._wait_for_tasks(end)
            for client in list(self._clients):
                client.stop(error)
            await self._wait_for_clients(end + self._limits.linger)
            await self._wait_for_tasks(end + self._limits.linger)
        finally:
            for client in list(self._clients):
                client.abort()
            tasks = {*self._shared.tasks, *self._watching}
            self._watching = []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Their sockets close in the next round of the loop.
            await self._wait_for_clients(asyncio.get_running_loop().time() + self._limits.linger)

    # --- what connections ask for ----------------------------------------------------------

    def opened(self, client: Client) -> None:
        """Let a client in, or close it."""
        self._clients.add(client)
        self._empty.clear()
        self._thin_out()
        if self._shared.stopping is not None:
            client.close(linger=False)
        elif client.peer != UNIX and not is_allowed(client.peer, self._settings.allow):
            self._note_stranger(client.peer)
            client.close(linger=False)
        elif self.connections > self._settings.max_connections:
            self._make_room(client)
        else:
            _LOGGER.debug("Connection from %s", client.peer)

    def closed(self, client: Client) -> None:
        """Forget a connection that is gone."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()

    def _make_room(self, newcomer: Client) -> None:
        idle = [
            client
            for client in self._clients
            if client is not newcomer and not client.closing and not client.busy
        ]
        if idle:
            longest = min(idle, key=lambda client: client.active_at)
            _LOGGER.debug("Connection from %s makes room", longest.peer)
            longest.close()
            return
        most = self._settings.max_connections
        newcomer.close(
            Busy(f"All {most} connections (--max-connections) are in use; try again in a moment.")
        )

    def _thin_out(self) -> None:
        """Keep those who were turned away, and do not go, from piling up."""
        if len(self._clients) > 2 * self._settings.max_connections:
            leaving = (client for client in self._clients if client.closing)
            longest = min(leaving, key=lambda client: client.active_at, default=None)
            if longest is not None:
                longest.abort()

    def _note_stranger(self, peer: str) -> None:
        known = peer in self._strangers or len(self._strangers) >= _MOST_STRANGERS
        self._strangers.add(peer) if not known else None
        _LOGGER.log(
            logging.DEBUG if known else logging.WARNING,
            "Connection from %s refused: it is in none of the allowed networks (--allow)",
            peer,
        )

    # --- watching and waiting --------------------------------------------------------------

    async def _watch(self) -> None:
        """Look after all connections now and then: cheaper than a timer for each."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._limits.tick)
            for client in list(self._clients):
                try:
                    client.check(loop.time())
                except Exception:
                    _LOGGER.exception("Connection from %s: unexpected error", client.peer)
                    client.abort()

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            path = self._settings.address.path
            if path is not None:
                # Python does so itself from 3.13 on.
                path.unlink(missing_ok=True)

    async def _wait_for_tasks(self, end: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while self._shared.tasks:
                    await asyncio.wait(set(self._shared.tasks))

    async def _wait_for_clients(self, end: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while self._clients:
                    await self._empty.wait()


def build_info(server: ServerSettings, way: Announced, model: str) -> Info:
    """Return what the server says about itself, made once: it asks *way*, Flux by *model*.

    Home Assistant reads the first program's name, the languages of its installed models and the
    three flags, once, when it creates its entity (``homeassistant/components/wyoming/stt.py``,
    2026.10.4).
    """
    flux = isinstance(way, Connector)
    hosted = _CLOUDFLARE
    if not isinstance(way, Connector):
        hosted = _MOONSHINE
    elif way.endpoint.route is Route.DEEPGRAM:
        hosted = _DEEPGRAM
    return Info(
        asr=[
            AsrProgram(
                name=server.name,
                description="Speech-to-text on Deepgram Flux, which knows when you are done"
                if flux
                else "Speech-to-text on this machine",
                attribution=hosted,
                installed=True,
                version=__version__,
                models=[
                    AsrModel(
                        name=model if flux else way.name,
                        description="Deepgram Flux" if flux else "Moonshine",
                        attribution=_DEEPGRAM if flux else _MOONSHINE,
                        installed=True,
                        version=None,
                        languages=list(way.languages(model)),
                    )
                ],
                supports_transcript_streaming=True,
                requires_external_vad=server.external_vad,
                # Flux is trained on audio as it is; enhancement costs words.
                prefers_auto_gain_enabled=False,
                prefers_noise_reduction_enabled=False,
            )
        ]
    )


async def listen(
    address: Address, protocol_factory: Callable[[], asyncio.BaseProtocol]
) -> tuple[asyncio.Server, Address]:
    """Listen at *address*; return the server and the address with its real port.

    Raises :class:`InvalidSetting` (``uri``) where that is not possible.
    """
    loop = asyncio.get_running_loop()
    try:
        if address.path is not None:
            await asyncio.to_thread(_clear, address.path)
            server = await loop.create_unix_server(
                protocol_factory, str(address.path), backlog=_BACKLOG
            )
            return server, address
        if address.host == "::":
            # asyncio alone would listen for IPv6 only, and refuse what people mean by "all".
            both = socket.has_dualstack_ipv6()
            sock = socket.create_server(
                ("::", address.port), family=socket.AF_INET6, dualstack_ipv6=both, backlog=_BACKLOG
            )
            server = await loop.create_server(protocol_factory, sock=sock)
        else:
            server = await loop.create_server(
                protocol_factory, address.host, address.port, backlog=_BACKLOG
            )
    except OSError as error:
        raise InvalidSetting("uri", f"cannot listen on {address}: {os_reason(error)}") from error
    port: int = server.sockets[0].getsockname()[1]
    return server, Address(host=address.host, port=port)


def _clear(path: Path) -> None:
    # asyncio removes any socket file before it listens, even one where another server answers.
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidSetting("uri", f"cannot listen on unix://{path}: a file is in the way")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise InvalidSetting("uri", f"cannot listen on unix://{path}: another server answers there")
