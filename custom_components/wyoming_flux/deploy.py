"""Runs the deployment of a Worker on Home Assistant's shared HTTP session."""

import asyncio
from typing import Any, Final

import aiohttp
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.helpers.storage import Store
from yarl import URL

from wyoming_flux import cloudflare
from wyoming_flux.errors import InvalidSetting

from .const import CONF_API_TOKEN, DOMAIN

_VERSION: Final = 1


def check_api_token(token: str) -> str:
    """Return an API token as it goes into a header. Raises :class:`InvalidSetting`."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidSetting(
            CONF_API_TOKEN, "an API token is one word of letters and digits: copy all of it"
        )
    return token


class KeptTokens:
    """Tokens of Workers that are being made: nobody can read them at Cloudflare later.

    They are here from before the upload until an entry has them, so that a dialogue that was closed
    in between costs nothing.
    """

    def __init__(self, hass: HomeAssistant) -> None:
        """Take where to keep them."""
        self._store = Store[dict[str, str]](hass, _VERSION, f"{DOMAIN}.new_workers", private=True)

    async def async_get(self, name: str) -> str | None:
        """Return the token that was made for a Worker of this name, if it is still waiting."""
        return (await self._store.async_load() or {}).get(name)

    async def async_set(self, name: str, token: str | None) -> None:
        """Keep a token, or forget it; written when this returns."""
        known: dict[str, Any] = await self._store.async_load() or {}
        if token is not None:
            known[name] = token
        elif known.pop(name, None) is None:
            return
        if known:
            await self._store.async_save(known)
        else:
            await self._store.async_remove()


async def async_deploy(
    hass: HomeAssistant, plan: cloudflare.Plan, api_token: str, kept: KeptTokens
) -> cloudflare.Deployed:
    """Put the Worker of ``plan`` into the account. Raises :class:`WyomingFluxError`."""
    source = await hass.async_add_executor_job(cloudflare.worker_source)
    session = async_get_clientsession(hass)
    script = cloudflare.deploy(plan, source)
    answer: cloudflare.Reply | None = None
    try:
        while True:
            step = script.send(answer)
            answer = None
            match step:
                case cloudflare.Request():
                    answer = await _send(session, step, api_token)
                case cloudflare.Pause(seconds):
                    await asyncio.sleep(seconds)
                case cloudflare.KeepToken(token):
                    await kept.async_set(plan.name, token)
                case cloudflare.DropToken():
                    await kept.async_set(plan.name, None)
    except StopIteration as end:
        deployed: cloudflare.Deployed = end.value
        return deployed
    finally:
        script.close()


async def _send(
    session: aiohttp.ClientSession, request: cloudflare.Request, api_token: str
) -> cloudflare.Reply:
    try:
        async with (
            asyncio.timeout(request.timeout),
            session.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body,
                headers=request.headers(api_token),
                allow_redirects=False,
            ) as response,
        ):
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) >= cloudflare.MAX_ANSWER:
                    break
            return cloudflare.Reply(response.status, bytes(body[: cloudflare.MAX_ANSWER]))
    except TimeoutError:
        return cloudflare.Reply(0, f"no answer within {request.timeout:g} s".encode())
    except (aiohttp.ClientError, OSError) as err:
        return cloudflare.Reply(0, (str(err) or type(err).__name__).encode())
