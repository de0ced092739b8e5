"""Leads what a Home Assistant wants of Cloudflare to an account on this machine.

As an integration inside a real Home Assistant, or called by a test in its own process.
"""

import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any

import aiohttp
from homeassistant.const import EVENT_HOMEASSISTANT_STOP
from homeassistant.core import Event, HomeAssistant
from homeassistant.helpers.typing import ConfigType

from custom_components.wyoming_flux import deploy
from wyoming_flux.flux import Endpoint, connector
from wyoming_flux.flux.connection import FluxConnection, open_connection
from wyoming_flux.flux.dial import Dialler

URL = "wss://flux.someone.workers.dev/"


async def session(hass: HomeAssistant, proxy: str, ca: str) -> aiohttp.ClientSession:
    """Return what takes every request to the account, whose authority it trusts."""
    context = await hass.async_add_executor_job(partial(ssl.create_default_context, cafile=ca))
    return aiohttp.ClientSession(proxy=proxy, connector=aiohttp.TCPConnector(ssl=context))


def dial_to(places: Mapping[str, str]) -> Any:
    """Return what opens connections: those to a URL that is a key at another place, its value."""

    async def dial(endpoint: Endpoint, url: str, dialler: Dialler, **more: Any) -> FluxConnection:
        if (place := places.get(endpoint.url)) is not None:
            there = Endpoint.from_url(place, token=endpoint.token, route=endpoint.route)
            url, endpoint = url.replace(endpoint.url, there.url), there
            dialler = Dialler("127.0.0.1", int(place.rpartition(":")[2]))
            more["ssl_context"] = None
        return await open_connection(endpoint, url, dialler, **more)

    return dial


async def async_setup(hass: HomeAssistant, config: ConfigType) -> bool:
    """Take the places of the shared session and of what opens connections."""
    where = config["workers_dev"]
    made = await session(hass, where["proxy"], where["ca"])
    deploy.async_get_clientsession = lambda _: made
    connector.open_connection = dial_to(where["places"])

    async def close(_event: Event) -> None:
        await made.close()

    hass.bus.async_listen_once(EVENT_HOMEASSISTANT_STOP, close)
    return True
