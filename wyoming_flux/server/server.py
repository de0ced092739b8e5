"""Listens, lets clients in, watches over them, and stops gracefully."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Iterable
from typing import Final

from wyoming_flux.errors import Busy
from wyoming_flux.flux import Connector
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings
from wyoming_flux.utterance import Transcriber

from .access import is_allowed
from .address import listen, remove_socket
from .connection import UNIX, Connection
from .events import encode
from .info import build_info
from .report import TurnReport
from .service import Service, TranscriberFactory
from .settings import Limits
from .usage import DailyMinutes

_LOGGER = logging.getLogger(__name__)

_SETTLE: Final = 0.1
"""Seconds for what is on its way when the server is stopped."""
_MOST_STRANGERS: Final = 100
"""Addresses of refused clients that are remembered, so that each is logged once."""


class Server:
    """A Wyoming speech-to-text server.

    ``usage`` counts the minutes of the day, and is made from the settings where it is not given;
    ``keyterms`` is asked at each turn for terms weaker than the configured ones; ``on_turn`` is
    told what became of each turn. ``limits`` and ``transcriber`` are for tests.

    Raises :class:`~wyoming_flux.errors.InvalidSetting` for settings the endpoint cannot carry.
    """

    def __init__(
        self,
        connector: Connector,
        flux: FluxSettings,
        turn: UtteranceSettings,
        server: ServerSettings,
        *,
        usage: DailyMinutes | None = None,
        keyterms: Callable[[], Iterable[str]] | None = None,
        on_turn: Callable[[TurnReport], None] | None = None,
        limits: Limits | None = None,
        transcriber: TranscriberFactory | None = None,
    ) -> None:
        """Prepare; nothing listens yet."""
        connector.endpoint.check(flux)
        endpoint = connector.endpoint
        self.usage: Final = usage or DailyMinutes(server.daily_minutes)
        self.uri = server.uri
        """Where the server listens; with the real port once it was started."""
        self._settings = server
        self._limits = limits or Limits()
        info = build_info(server.name, endpoint, flux.model, external_vad=server.external_vad)
        self._service = Service(
            info=encode(info.event()),
            flux=flux,
            languages=endpoint.languages(flux.model),
            transcriber=transcriber or _transcribers(connector, turn),
            usage=self.usage,
            limits=self._limits,
            extra_keyterms=keyterms,
            on_turn=on_turn,
            debug=server.debug,
            whole=turn.answer_on == "end-of-turn",
        )
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._strangers: set[str] = set()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(not connection.closing for connection in self._connections)

    async def start(self) -> None:
        """Listen; raises :class:`~wyoming_flux.errors.InvalidSetting` (``uri``) if impossible."""
        self._service.stopping = None
        self._listener, address = await listen(
            self._settings.address, functools.partial(Connection, self._service, self)
        )
        self.uri = str(address)
        self._watchdog = asyncio.create_task(self._watch(), name="wyoming-flux watchdog")
        _LOGGER.info("Listening on %s", self.uri)

    async def stop(self, grace: float = 5.0) -> None:
        """Stop listening, let running turns finish, answer the rest with an error, and close.

        Running turns have *grace* seconds; with what Flux and the clients then need to close, all
        is over some two seconds later. May be called again, and without :meth:`start`.
        """
        error = Busy("The server is stopping; try again in a moment.")
        self._close_listener()
        try:
            if self._connections:
                # What clients have sent by now may be a turn, though nobody has read it yet.
                await asyncio.sleep(min(_SETTLE, grace))
            self._service.stopping = error
            for connection in list(self._connections):
                if not connection.busy:
                    connection.close()
            await self._wait_for_tasks(grace)
            for connection in list(self._connections):
                connection.stop(error)
            await self._wait_for_connections(self._limits.linger)
            await self._wait_for_tasks(self._limits.linger)
        finally:
            for connection in list(self._connections):
                connection.abort()
            tasks = set(self._service.tasks)
            if self._watchdog is not None:
                tasks.add(self._watchdog)
                self._watchdog = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._wait_for_connections(self._limits.linger)

    # --- what connections ask for ----------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """Let a connection in, or close it."""
        self._connections.add(connection)
        self._empty.clear()
        self._thin_out()
        if self._service.stopping is not None:
            connection.close(linger=False)
        elif connection.peer != UNIX and not is_allowed(connection.peer, self._settings.allow):
            self._note_stranger(connection.peer)
            connection.close(linger=False)
        elif self.connections > self._settings.max_connections:
            self._make_room(connection)
        else:
            _LOGGER.debug("Connection from %s", connection.peer)

    def closed(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _make_room(self, newcomer: Connection) -> None:
        idle = [
            connection
            for connection in self._connections
            if connection is not newcomer and not connection.closing and not connection.busy
        ]
        if idle:
            longest = min(idle, key=lambda connection: connection.active_at)
            _LOGGER.debug("Connection from %s makes room", longest.peer)
            longest.close()
            return
        most = self._settings.max_connections
        newcomer.close(
            Busy(f"All {most} connections (--max-connections) are in use; try again in a moment.")
        )

    def _thin_out(self) -> None:
        """Keep those who were turned away, and do not go, from piling up."""
        if len(self._connections) > 2 * self._settings.max_connections:
            leaving = (connection for connection in self._connections if connection.closing)
            longest = min(leaving, key=lambda connection: connection.active_at, default=None)
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
            for connection in list(self._connections):
                try:
                    connection.check(loop.time())
                except Exception:
                    _LOGGER.exception("Connection from %s: unexpected error", connection.peer)
                    connection.abort()

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            path = self._settings.address.path
            if path is not None:
                remove_socket(path)

    async def _wait_for_tasks(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._service.tasks:
                    await asyncio.wait(set(self._service.tasks))

    async def _wait_for_connections(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._connections:
                    await self._empty.wait()


def _transcribers(connector: Connector, turn: UtteranceSettings) -> TranscriberFactory:
    def make(settings: FluxSettings, on_partial: Callable[[str], None]) -> Transcriber:
        return Transcriber([connector], settings, turn, on_partial=on_partial)

    return make
