"""``wyoming-flux serve``: listen until told to stop."""

import argparse
import asyncio
import contextlib
import gc
import logging
from collections.abc import Sequence
from typing import Final

from wyoming_flux.ear import Ear
from wyoming_flux.errors import EndpointError, InvalidSetting, WyomingFluxError
from wyoming_flux.flux import Connector, check_flux
from wyoming_flux.flux.check import SILENCE
from wyoming_flux.home import HomeAssistant
from wyoming_flux.minutes import DailyMinutes
from wyoming_flux.server import Server
from wyoming_flux.settings import (
    FluxSettings,
    HomeSettings,
    ProgramSettings,
    ServerSettings,
    UtteranceSettings,
)
from wyoming_flux.utterance import Capture

from . import interrupt, minutes_file, options
from .endpoints import Way, endpoints
from .environment import Given
from .notify import notify

_LOGGER: Final = logging.getLogger(__name__)
_GRACE: Final = 5.0
_LOOK_AFTER: Final = 3.0
"""Seconds after the start; a sentence that comes before tells the same, and should go alone."""


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
    ways = endpoints(given)
    flux, cut = given.flux()
    for way in ways:
        way.check(flux)
    turn = given.make(UtteranceSettings)
    settings = given.make(ServerSettings, debug=given.make(ProgramSettings).debug)
    home = _home(given.make(HomeSettings))
    if cut:
        _LOGGER.warning("%d key terms do not fit within Flux's limits", cut)
    for way in ways:
        if isinstance(way, Connector):
            _warn(way, flux)
    try:
        with given.capture() as capture:
            return asyncio.run(_serve(ways, flux, turn, settings, capture, home))
    except InvalidSetting as error:
        # Such as a port in use: right in itself, but not here and now.
        return options.failed(given.explain(error))
    except KeyboardInterrupt:
        pass  # before the signal handlers were there
    return 0


async def _serve(
    ways: Sequence[Way],
    flux: FluxSettings,
    turn: UtteranceSettings,
    settings: ServerSettings,
    capture: Capture | None,
    home: HomeAssistant | None,
) -> int:
    stopping = asyncio.Event()
    interrupt.stop_on_signal(stopping)
    minutes = DailyMinutes(settings.daily_minutes)
    first, *others = ways
    server = Server(
        first,
        flux,
        turn,
        settings,
        fallbacks=others,
        minutes=minutes,
        keyterms=None if home is None else lambda: home.names,
        capture=capture,
    )
    async with contextlib.AsyncExitStack() as stack:
        for way in ways:
            if isinstance(way, Ear):
                stack.push_async_callback(way.close)
                loaded = await _load(way, stopping)
                if stopping.is_set():
                    return 0
                if not loaded and not others:
                    return options.ERROR
        if settings.daily_minutes is not None and settings.address.port != 0:
            path = minutes_file.path_for(settings.uri)
            if path is not None:
                await stack.enter_async_context(minutes_file.MinutesFile(minutes, path))
        await server.start()
        stack.push_async_callback(server.stop, _GRACE)
        for way in ways:
            _tell(way, first=way is first)
        if settings.zeroconf is not None:
            from wyoming_flux.server.announce import announced

            await stack.enter_async_context(announced(server.uri, settings.zeroconf))
        if isinstance(first, Connector):
            look = asyncio.create_task(_look(first, flux, server), name="look at Flux")
            stack.push_async_callback(_end, look)
        if home is not None:
            asking = asyncio.create_task(home.run(), name="names of the home")
            stack.push_async_callback(_end, asking)
        # Modules stay: each look at all of them would stop every sentence for 5 ms, or more.
        gc.freeze()
        notify("READY=1")
        await stopping.wait()
        _LOGGER.info("Stopping")
        notify("STOPPING=1")
    return 0


def _home(settings: HomeSettings) -> HomeAssistant | None:
    if settings.home_assistant is None or settings.home_assistant_token is None:
        return None
    return HomeAssistant(settings.home_assistant, settings.home_assistant_token)


async def _load(ear: Ear, stopping: asyncio.Event) -> bool:
    """Load the ear's model before it is needed, unless stopped; tell what that takes."""
    loading, stopped = asyncio.ensure_future(ear.start()), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            return False
        seconds = loading.result()
    except EndpointError as error:
        _LOGGER.error("%s", error)  # noqa: TRY400 - a sentence for a person
        return False
    finally:
        loading.cancel()
        stopped.cancel()
        await asyncio.wait({loading, stopped})
    memory = "" if ear.memory is None else f", {ear.memory} MB"
    _LOGGER.info("The ear on this machine is loaded (%.1f s%s)", seconds, memory)
    return True


def _warn(connector: Connector, flux: FluxSettings) -> None:
    if connector.endpoint.open_to_all:
        _LOGGER.warning(
            "No token was given for %s: it will refuse us, or whoever knows its URL can spend what"
            " its account pays for",
            connector.endpoint.host,
        )
    if advice := connector.endpoint.advice(flux):
        _LOGGER.warning("%s", advice)


def _tell(way: Way, *, first: bool) -> None:
    if isinstance(way, Connector):
        who = f"Flux at {way.endpoint.host} ({way.endpoint.route})"
    elif isinstance(way, Ear):
        who = "the ear on this machine"
    else:
        who = f"the Wyoming engine {way.name}"
    _LOGGER.info("Speech is heard by %s" if first else "If that fails, by %s", who)


async def _look(connector: Connector, flux: FluxSettings, server: Server) -> None:
    """Say what is wrong with Flux before the first sentence suffers; costs half a second."""
    await asyncio.sleep(_LOOK_AFTER)
    if server.standing.asked:
        return
    try:
        server.minutes.check()
        verdict = await check_flux(connector, flux)
    except WyomingFluxError as error:
        server.standing.failed(error)
    except Exception:
        _LOGGER.exception("Looking at Flux failed")
    else:
        server.minutes.add(SILENCE)
        _LOGGER.info("%s", verdict)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
