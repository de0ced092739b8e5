"""``wyoming-flux serve``: listen until told to stop."""

import asyncio
import contextlib
import logging
import os
import re
import signal
from pathlib import Path
from typing import Any, Final

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Connector
from wyoming_flux.server import (
    DailyMinutes,
    Server,
    ServerSettings,
    UsageFile,
    parse_network,
)
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from . import command, configure
from .notify import notify
from .options import SERVE
from .parser import Parser, add_options, make_parser
from .values import Values

_LOGGER: Final = logging.getLogger(__name__)
_GRACE: Final = 5.0


def parser() -> Parser:
    """Return the parser of this command."""
    made = make_parser(
        SERVE,
        "Listens for Wyoming clients such as Home Assistant, and turns their audio into text.",
        "Every option is also a variable: --worker-url is WYOMING_FLUX_WORKER_URL, or a file that"
        " WYOMING_FLUX_WORKER_URL_FILE names. The token itself may be in WYOMING_FLUX_TOKEN.",
    )
    add_options(made, SERVE)
    return made


def run(argv: list[str]) -> int:
    """Serve; return 0 once stopped by SIGTERM or SIGINT."""
    _, values = command.read(SERVE, parser(), argv)
    try:
        endpoint = configure.endpoint(values)
        flux, cut = configure.flux_settings(values)
        turn = configure.turn_settings(values)
        settings = _server_settings(values)
        if cut:
            _LOGGER.warning("%d key terms do not fit within Flux's limits", cut)
        connector = Connector(endpoint)
    except InvalidSetting as error:
        command.wrong(values.explain(error))
    try:
        asyncio.run(_serve(connector, flux, turn, settings, values))
    except InvalidSetting as error:
        # Such as a port in use: right in itself, but not here and now.
        return command.failed(values.explain(error))
    except KeyboardInterrupt:
        pass  # before the signal handlers were there
    return 0


async def _serve(
    connector: Connector,
    flux: FluxSettings,
    turn: UtteranceSettings,
    settings: ServerSettings,
    values: Values,
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stopping)
    usage = DailyMinutes(settings.daily_minutes)
    server = Server(connector, flux, turn, settings, usage=usage)
    async with contextlib.AsyncExitStack() as stack:
        path = _usage_path(settings)
        if path is not None:
            await stack.enter_async_context(UsageFile(usage, path))
        await server.start()
        stack.push_async_callback(server.stop, _GRACE)
        _LOGGER.info("Flux is at %s (%s)", connector.endpoint.host, connector.endpoint.route)
        name = values.text("zeroconf")
        if name is not None:
            from wyoming_flux.server.announce import announced

            await stack.enter_async_context(announced(server.uri, name))
        notify("READY=1")
        await stopping.wait()
        _LOGGER.info("Stopping")
        notify("STOPPING=1")


def _on_signal(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        # The second time somebody means it.
        os._exit(0)
    stopping.set()


def _server_settings(values: Values) -> ServerSettings:
    fields: dict[str, Any] = values.pick(
        "uri", "name", "external_vad", "max_connections", "daily_minutes", "debug"
    )
    networks = values.texts("allow")
    if networks is not None:
        fields["allow"] = tuple(parse_network(one) for one in networks)
    return ServerSettings(**fields)


def _usage_path(settings: ServerSettings) -> Path | None:
    """Return where the minutes of the day are kept: with the state of the user or the service."""
    if settings.daily_minutes is None or settings.address.port == 0:
        return None
    # systemd names a folder of the service; others follow the XDG base directories.
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not folder:
        home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        folder = str(Path(home) / "wyoming-flux")
    # One file per port: two servers have two limits.
    name = re.sub(r"[^a-z0-9.]+", "-", settings.uri.lower()).strip("-")
    return Path(folder) / f"minutes-{name}.json"
