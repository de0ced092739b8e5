"""The last turns for a look: kept in the cache folder, shown to administrators, told in words."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from homeassistant.components.http.auth import async_sign_path
from homeassistant.components.http.const import KEY_HASS_USER
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import Unauthorized
from homeassistant.helpers.http import KEY_HASS, HomeAssistantView
from homeassistant.util import dt as dt_util
from homeassistant.util.hass_dict import HassKey

from wyoming_flux.look import Turn, look_at, record_page
from wyoming_flux.look.spent import spent
from wyoming_flux.look.story import outcome, story
from wyoming_flux.utterance import Capture
from wyoming_flux.utterance.record import InvalidRecord, read

from . import options as opt
from .const import CONF_KEEP_TURNS, DOMAIN

URL: Final = f"/api/{DOMAIN}/turns/{{entry_id}}/{{name}}"
SIGNED_FOR: Final = timedelta(minutes=5)
_REGISTERED: HassKey[bool] = HassKey(f"{DOMAIN}_last_turns")


@dataclass(frozen=True, slots=True)
class Kept:
    """A turn that was kept, and the name of its record."""

    name: str
    turn: Turn


def folder(hass: HomeAssistant, entry: ConfigEntry) -> Path:
    """Return where turns are kept: what is in the cache folder is in no backup."""
    return Path(hass.config.cache_path(DOMAIN, entry.entry_id))


async def async_capture(hass: HomeAssistant, entry: ConfigEntry) -> Capture | None:
    """Return what keeps the turns of an entry; where that is off, forget those that were kept."""
    most = int(opt.complete(entry.options)[CONF_KEEP_TURNS])
    if not most:
        await async_forget(hass, entry)
        return None
    if _REGISTERED not in hass.data:
        hass.data[_REGISTERED] = True
        hass.http.register_view(LastTurnView)
    return Capture(folder(hass, entry), most=most)


async def async_forget(hass: HomeAssistant, entry: ConfigEntry) -> None:
    """Remove all turns that were kept for an entry."""
    path = folder(hass, entry)
    await hass.async_add_executor_job(lambda: shutil.rmtree(path, ignore_errors=True))


async def async_recent(hass: HomeAssistant, entry: ConfigEntry, most: int = 50) -> list[Kept]:
    """Return the turns that were kept, the newest first; without those that cannot be read."""
    return await hass.async_add_executor_job(_recent, folder(hass, entry), most)


@callback
def async_links(hass: HomeAssistant, entry: ConfigEntry, kept: list[Kept]) -> str:
    """Return a list of links that open for five minutes, for who asks for them now."""
    lines = []
    for one in kept:
        path = URL.format(entry_id=entry.entry_id, name=one.name)
        signed = async_sign_path(hass, path, SIGNED_FOR)
        began = dt_util.parse_datetime(str(one.turn.record.header.get("began", "")))
        when = f"{dt_util.as_local(began):%Y-%m-%d %H:%M:%S}" if began else one.name
        label = _plain(f"{when}: {story(one.turn)[0]}")
        lines.append(f'- <a href="{signed}" target="_blank">{label}</a>')
    return "\n".join(lines)


async def async_story(hass: HomeAssistant, entry: ConfigEntry) -> Mapping[str, Any] | None:
    """Return what became of the last turn that was kept: no text, no audio, no host."""
    kept = await async_recent(hass, entry, 1)
    if not kept:
        return None
    turn = kept[0].turn
    sentences = "\n".join(story(turn))
    for number, name in enumerate(turn.record.endpoints, start=1):
        sentences = sentences.replace(name, f"endpoint {number}")
    return {
        "began": turn.record.header.get("began"),
        "outcome": outcome(turn),
        "story": sentences.split("\n"),
        "milliseconds": [
            {"what": part.name, "whose": part.whose, "ms": part.ms} for part in spent(turn)
        ],
    }


class LastTurnView(HomeAssistantView):
    """The page of one turn, for administrators alone."""

    url: str | None = URL
    name: str | None = f"api:{DOMAIN}:turn"

    async def get(self, request: web.Request, entry_id: str, name: str) -> web.Response:
        """Return the page; 404 for what is not kept."""
        if not request[KEY_HASS_USER].is_admin:
            raise Unauthorized
        hass = request.app[KEY_HASS]
        entry = hass.config_entries.async_get_entry(entry_id)
        if entry is None or entry.domain != DOMAIN:
            return web.Response(status=HTTPStatus.NOT_FOUND)
        page = await hass.async_add_executor_job(_page, folder(hass, entry), name)
        if page is None:
            return web.Response(status=HTTPStatus.NOT_FOUND)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return web.Response(text=page, content_type="text/html", headers=headers)


def _plain(text: str) -> str:
    """Return text that neither HTML nor Markdown takes for more than that."""
    return re.sub(r"[^\w .,:'()-]|_", lambda sign: f"&#{ord(sign[0])};", text)


def _recent(path: Path, most: int) -> list[Kept]:
    found: list[Kept] = []
    for record in sorted(path.glob("flux-*.jsonl"), reverse=True):
        if len(found) < most and (turn := _read(record)) is not None:
            found.append(Kept(record.stem, turn))
    return found


def _page(path: Path, name: str) -> str | None:
    # Only what is listed: a name never becomes a path.
    record = next((one for one in path.glob("flux-*.jsonl") if one.stem == name), None)
    if record is None or (turn := _read(record)) is None:
        return None
    wav = record.with_suffix(".wav")
    return record_page(turn, wav.read_bytes() if wav.is_file() else None)


def _read(record: Path) -> Turn | None:
    try:
        return look_at(read(record.read_text("utf-8")))
    except InvalidRecord, OSError, UnicodeDecodeError:
        # Removed just now for a newer one, or not ours.
        return None
