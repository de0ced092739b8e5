"""Opens connections to one endpoint, with the parameters that it was seen to take."""

import asyncio
import itertools
import logging
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from wyoming_flux.errors import EndpointError, FluxTimeout, Refused, Unreachable
from wyoming_flux.settings import DEFAULT_SAMPLE_RATE, FluxSettings

from .connection import WORKER_HEADER, FluxConnection, open_connection
from .dial import Dialler
from .endpoint import Endpoint, Parameter, Route
from .learnt import EndpointMemory, Parameters, reductions

OPEN_TIMEOUT: Final = 12.0
"""Seconds after which an attempt ends in any case; whoever asked for it gives it up long before."""

_TOO_MANY: Final = "5030"
"""Code that Workers AI gives for wrong parameters, and for too many connections at once."""

_LOGGER: Final = logging.getLogger(__name__)


class Connector:
    """The way to one endpoint, shared by all utterances of a process."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        tell_texts: bool = False,
    ) -> None:
        """Take an endpoint; without ``ssl_context`` the system's trusted authorities are used.

        ``tell_texts``: what Flux heard may be logged, at DEBUG.
        """
        self.endpoint = endpoint
        self.learnt = EndpointMemory(endpoint.controls)
        """What is known of the endpoint."""
        self.plain: bool | None = None
        """Whether it is a Worker that ignores parameters; None until a connection has told."""
        self.worker_version: str | None = None
        """What the Worker says of itself; None: no Worker of ours has answered yet."""
        self._ssl_context = ssl_context
        self._clock = clock
        self._tell_texts = tell_texts
        parts = urlsplit(endpoint.url)
        self._dialler = Dialler(
            parts.hostname or "", parts.port or (443 if endpoint.secure else 80)
        )

    billed: Final = True
    """Whether what it hears counts as minutes of Flux."""

    def languages(self, model: str) -> tuple[str, ...]:
        """Return the language tags that a model understands there."""
        return self.endpoint.languages(model)

    def check(self, settings: FluxSettings) -> None:
        """Raise :class:`InvalidSetting` for settings that the route cannot carry."""
        self.endpoint.check(settings)

    @property
    def name(self) -> str:
        """Where it connects to, for messages."""
        return self.endpoint.host

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the parameters that the endpoint was seen to refuse, for an hour."""
        return tuple(sorted({name for name, _ in self.learnt.refused(self._clock())}))

    async def connect(
        self, settings: FluxSettings, *, timeout: float = OPEN_TIMEOUT
    ) -> FluxConnection:
        """Open a stream; where parameters are refused, with as many of them as are taken.

        ``timeout`` is in seconds, for all of it. Raises :class:`InvalidSetting` for settings that
        the route cannot carry, otherwise subclasses of :class:`EndpointError` alone.
        """
        self.endpoint.check(settings)
        try:
            async with asyncio.timeout(timeout):
                connection = await self._negotiate(settings)
        except TimeoutError:
            raise FluxTimeout(f"{self.endpoint.host} did not answer in time") from None
        try:
            self._check_plain(connection, settings)
        except EndpointError:
            await connection.close()
            raise
        return connection

    async def _negotiate(self, settings: FluxSettings) -> FluxConnection:
        asked = self.endpoint.optional_parameters(settings)
        known = left_out = self.learnt.left_out(frozenset(asked), self._clock())
        tried = [left_out]
        groups = iter(reductions(asked))
        refused: Refused | None = None
        connection: FluxConnection | None = None
        while connection is None:
            try:
                connection = await self._open(self.endpoint.request_url(settings, left_out))
            except Refused as err:
                if not err.parameters:
                    raise
                refused = refused or err
                less = _less(asked, left_out, err, tried, (known | one for one in groups))
                if less is None:
                    raise _for_good(refused, err) from None
                left_out = less
                tried.append(less)
        connection.facts = self.learnt.facts(self._clock())
        connection.attempts = len(tried)
        connection.dropped = _names(one for one in asked if one in left_out)
        if refused is not None:
            _LOGGER.info("%s; going on without %s", refused, ", ".join(connection.dropped))
        connection.on_worked = lambda: self._worked(
            frozenset(asked) - left_out, left_out - known, refused
        )
        return connection

    def _worked(self, offered: Parameters, left_out: Parameters, refused: Refused | None) -> None:
        if self.learnt.worked(offered, left_out, self._clock()):
            names = ", ".join(sorted({name for name, _ in left_out}))
            _LOGGER.warning("%s; going on for an hour without %s", refused, names)

    async def _open(self, url: str) -> FluxConnection:
        if self.endpoint.secure and self._ssl_context is None:
            # Reading the authorities takes some 20 ms of disk and CPU: not in the loop.
            self._ssl_context = await asyncio.to_thread(ssl.create_default_context)
        return await open_connection(
            self.endpoint,
            url,
            self._dialler,
            ssl_context=self._ssl_context,
            tell_texts=self._tell_texts,
        )

    def _check_plain(self, connection: FluxConnection, settings: FluxSettings) -> None:
        plain = self.endpoint.route is Route.WORKER and WORKER_HEADER not in connection.headers
        first, self.plain = self.plain is not plain, plain
        if self.endpoint.route is Route.WORKER:
            self.worker_version = connection.headers.get(WORKER_HEADER)
        if not plain:
            return
        host = self.endpoint.host
        if settings.mip_opt_out:
            raise Refused(
                f"the Worker {host} ignores parameters, so mip_opt_out would be lost: deploy the"
                " Worker of wyoming-flux, or turn mip_opt_out off"
            )
        if settings.sample_rate != DEFAULT_SAMPLE_RATE:
            raise Refused(
                f"the Worker {host} ignores parameters and takes {DEFAULT_SAMPLE_RATE} Hz alone:"
                f" deploy the Worker of wyoming-flux, or set the sample rate to"
                f" {DEFAULT_SAMPLE_RATE}"
            )
        if first:
            _LOGGER.warning(
                "the Worker %s is not that of wyoming-flux and ignores parameters: key terms and"
                " thresholds have no effect",
                host,
            )


def _less(
    asked: Sequence[Parameter],
    left_out: Parameters,
    refused: Refused,
    tried: Sequence[Parameters],
    groups: Iterator[Parameters],
) -> Parameters | None:
    """Return what to leave out next: what the refusal names, else the next group; None: no more."""
    named = left_out | frozenset(one for one in asked if one[0] in refused.named)
    return next((one for one in itertools.chain((named,), groups) if one not in tried), None)


def _for_good(first: Refused, last: Refused) -> EndpointError:
    """Return what a refusal is that nothing could be left out of: the first names the fault."""
    if last.upstream_code != _TOO_MANY:
        return first
    return Unreachable(
        f"{first}; also with fewer parameters: perhaps too many connections at once",
        status=first.status,
        upstream_code=first.upstream_code,
        request_id=first.request_id,
    )


def _names(parameters: Iterator[Parameter]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name, _ in parameters))
