"""Deepgram Flux as speech-to-text: one entry is one way to Flux."""

import logging
from datetime import datetime
from typing import Final

from homeassistant.const import EVENT_HOMEASSISTANT_STOP, Platform
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.exceptions import ConfigEntryAuthFailed, ConfigEntryError
from homeassistant.helpers.event import async_track_utc_time_change
from homeassistant.util.ssl import get_default_context

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.errors import (
    AuthFailed,
    InvalidSetting,
    LoginNeeded,
    WyomingFluxError,
)
from wyoming_flux.flux import Connector, Endpoint, check_flux

from . import issues, last_turns
from . import options as opt
from .const import (
    CONF_DAILY_MINUTES,
    CONF_FALLBACK_ENTITY,
    CONF_FALLBACK_TOKEN,
    CONF_FALLBACK_URL,
    CONF_HOME_NAMES,
    CONF_SERVE,
    CONF_TOKEN,
    CONF_WORKER_URL,
    DOMAIN,
)
from .data import FluxConfigEntry, FluxData
from .fallback import EntityEndpoint
from .health import Health
from .names import HomeNames
from .serve import NetworkServer
from .usage import DailyUsage, store

_LOGGER: Final = logging.getLogger(__name__)

PLATFORMS: Final = (Platform.SENSOR, Platform.STT)

_PIPELINE_RATE: Final = 16000
"""Samples per second of all audio of a pipeline."""


async def async_setup_entry(hass: HomeAssistant, entry: FluxConfigEntry) -> bool:
    """Set up an entry: check the endpoint, then make the entities.

    A wrong token asks for a new one. All other faults may pass (a Worker that is being deployed, a
    host that starts), and each turn connects afresh: so the entities are there, unavailable.
    """
    known = opt.complete(entry.options)
    try:
        endpoint = Endpoint.from_url(entry.data[CONF_WORKER_URL], token=entry.data.get(CONF_TOKEN))
        turn = opt.turn_settings(known)
        settings = opt.flux_settings(known)
        endpoint.check(settings)
        second = None
        if known[CONF_FALLBACK_URL]:
            second = Endpoint.from_url(known[CONF_FALLBACK_URL], token=known[CONF_FALLBACK_TOKEN])
    except InvalidSetting as err:
        raise ConfigEntryError(
            translation_domain=DOMAIN,
            translation_key="invalid_setting",
            translation_placeholders={"reason": str(err)},
        ) from err
    # Home Assistant's own context trusts what it trusts, and is made outside the event loop.
    context = await hass.async_add_executor_job(get_default_context)
    connector = Connector(endpoint, ssl_context=context)
    fallbacks: list[Connector | EntityEndpoint] = []
    if second is not None:
        try:
            second.check(settings)
        except InvalidSetting as err:
            # No reason to be without the first one.
            _LOGGER.warning("%s: %s is not asked: %s", entry.title, second.host, err)
        else:
            fallbacks.append(Connector(second, ssl_context=context))
    if known[CONF_FALLBACK_ENTITY]:
        fallbacks.append(EntityEndpoint(hass, known[CONF_FALLBACK_ENTITY]))
    if settings.sample_rate != _PIPELINE_RATE:
        # Imports numpy and designs the filter, once: the first turn must not wait for it.
        source = AudioFormat(_PIPELINE_RATE, 2, 1)
        await hass.async_add_executor_job(Converter, source, settings.sample_rate)

    usage = DailyUsage(hass, entry.entry_id, known[CONF_DAILY_MINUTES])
    await usage.async_load()

    def use_names() -> None:
        merged = opt.keyterms(known, data.names.names)
        if merged.cut and merged.cut != data.keyterms_cut:
            _LOGGER.info("%s: %d key terms do not fit and are not used", entry.title, merged.cut)
        data.keyterms_cut = merged.cut
        data.settings = settings.with_keyterms(merged.terms)

    data = entry.runtime_data = FluxData(
        connector=connector,
        fallbacks=tuple(fallbacks),
        turn=turn,
        settings=settings,
        names=HomeNames(hass, use_names),
        health=Health(hass, entry, connector, lambda: data.settings),
        usage=usage,
        capture=await last_turns.async_capture(hass, entry),
    )
    entry.async_on_unload(data.health.async_stop)
    use_names()
    if known[CONF_HOME_NAMES]:
        data.names.async_start()
        entry.async_on_unload(data.names.async_stop)
    await _async_first_look(data)

    @callback
    def new_day(now: datetime) -> None:
        usage.new_day(now)
        issues.clear(hass, entry, issues.DAILY_LIMIT)

    entry.async_on_unload(async_track_utc_time_change(hass, new_day, hour=0, minute=0, second=0))
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)

    async def stop(_event: Event) -> None:
        # Entries are not unloaded when Home Assistant stops, and what was counted is written by
        # the storage itself.
        await data.async_stop()

    # Not "once": unloading after the stop would take back a listener that is gone already.
    entry.async_on_unload(hass.bus.async_listen(EVENT_HOMEASSISTANT_STOP, stop))
    if not usage.exhausted:
        issues.clear(hass, entry, issues.DAILY_LIMIT)
    if not known[CONF_SERVE]:
        issues.clear(hass, entry, issues.PORT_IN_USE)
    else:
        server = NetworkServer(hass, entry)
        data.on_stop.append(server.async_stop)
        await server.async_start()
    return True


async def _async_first_look(data: FluxData) -> None:
    try:
        verdict = await check_flux(data.connector, data.settings)
    except LoginNeeded as err:
        data.health.failed(err)
    except AuthFailed as err:
        raise ConfigEntryAuthFailed(
            translation_domain=DOMAIN, translation_key="invalid_auth"
        ) from err
    except WyomingFluxError as err:
        data.health.failed(err)
    else:
        data.health.succeeded(refused=verdict.refused)


async def async_unload_entry(hass: HomeAssistant, entry: FluxConfigEntry) -> bool:
    """Unload an entry, in the middle of a turn if it must be."""
    data = entry.runtime_data
    await data.async_stop()
    unloaded = await hass.config_entries.async_unload_platforms(entry, PLATFORMS)
    data.stopping = unloaded
    await data.usage.async_save()
    if entry.disabled_by is not None:
        issues.clear(hass, entry, *issues.ALL)
    # A reload keeps them: who ignores one does not want to see it again after each change.
    return unloaded


async def async_remove_entry(hass: HomeAssistant, entry: FluxConfigEntry) -> None:
    """Forget what was kept for an entry."""
    issues.clear(hass, entry, *issues.ALL)
    await store(hass, entry.entry_id).async_remove()
    await last_turns.async_forget(hass, entry)
