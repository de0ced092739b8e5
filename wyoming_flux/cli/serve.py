"""``wyoming-flux serve``: listen until told to stop."""

import argparse
import asyncio
import contextlib
import logging
import os
import re
import signal
from pathlib import Path
from typing import Final

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Connector
from wyoming_flux.server import DailyMinutes, Server, UsageFile
from wyoming_flux.settings import FluxSettings, ProgramSettings, ServerSettings, UtteranceSettings

from . import options
from .environment import Given

_LOGGER: Final = logging.getLogger(__name__)
_GRACE: Final = 5.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what this command does."""
    parser.description = (
        "Listens for Wyoming clients such as Home Assistant, and turns their audio into text."
    )
    parser.epilog = (
        "Every option is also a variable: --worker-url is WYOMING_FLUX_WORKER_URL, or a file that"
        " WYOMING_FLUX_WORKER_URL_FILE names. The token itself may be in WYOMING_FLUX_TOKEN."
    )


def run(_: argparse.Namespace, given: Given) -> int:
    """Serve; return 0 once stopped by SIGTERM or SIGINT. Raises :class:`InvalidSetting`."""
    endpoint = given.endpoint()
    flux, cut = given.flux()
    turn = given.make(UtteranceSettings)
    settings = given.make(ServerSettings, debug=given.make(ProgramSettings).debug)
    if cut:
        _LOGGER.warning("%d key terms do not fit within Flux's limits", cut)
    connector = Connector(endpoint)
    try:
        asyncio.run(_serve(connector, flux, turn, settings))
    except InvalidSetting as error:
        # Such as a port in use: right in itself, but not here and now.
        return options.failed(given.explain(error))
    except KeyboardInterrupt:
        pass  # before the signal handlers were there
    return 0


async def _serve(
    connector: Connector,
    flux: FluxSettings,
    turn: UtteranceSettings,
    settings: ServerSettings,
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
        if settings.zeroconf is not None:
            from .announce import announced

            await stack.enter_async_context(announced(server.uri, settings.zeroconf))
        await stopping.wait()
        _LOGGER.info("Stopping")


def _on_signal(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        # The second time somebody means it.
        os._exit(0)
    stopping.set()


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
