"""Assist's assistants, of which one may use a new engine at once."""

import logging
from typing import TYPE_CHECKING, Final

from homeassistant.components.stt import DOMAIN as STT
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.util.language import matches

from wyoming_flux.flux import Endpoint

from . import options as opt
from .const import DOMAIN

if TYPE_CHECKING:
    from homeassistant.components.assist_pipeline import Pipeline

_LOGGER: Final = logging.getLogger(__name__)


@callback
def async_assistants(hass: HomeAssistant, model: str) -> dict[str, str]:
    """Return id and name of each assistant in a language of the model, the preferred one first."""
    if "assist_pipeline" not in hass.config.components:
        return {}
    # Imported where it runs already: it needs packages that are not everywhere.
    from homeassistant.components.assist_pipeline.pipeline import (
        async_get_pipeline,
        async_get_pipelines,
    )

    preferred = async_get_pipeline(hass).id
    found = [one for one in async_get_pipelines(hass) if _language(hass, one, model)]
    found.sort(key=lambda one: one.id != preferred)
    return {one.id: one.name for one in found}


async def async_use_in(hass: HomeAssistant, entry: ConfigEntry, assistant: str) -> None:
    """Let an assistant hear with the entry's engine; nothing happens where there is none."""
    from homeassistant.components.assist_pipeline.pipeline import (
        PipelineNotFound,
        async_get_pipeline,
        async_update_pipeline,
    )

    engine = er.async_get(hass).async_get_entity_id(STT, DOMAIN, entry.entry_id)
    try:
        pipeline = async_get_pipeline(hass, assistant)
    except PipelineNotFound:
        pipeline = None
    language = pipeline and _language(hass, pipeline, opt.complete(entry.options)["model"])
    if engine is None or pipeline is None or not language:
        _LOGGER.warning(
            "%s could not be given to the assistant: choose it under Voice assistants", entry.title
        )
        return
    await async_update_pipeline(hass, pipeline, stt_engine=engine, stt_language=language)


@callback
def _language(hass: HomeAssistant, pipeline: Pipeline, model: str) -> str:
    """Return the model's tag for an assistant's language, "" if it does not know it."""
    known = Endpoint.languages(model)
    if pipeline.language in known:
        return pipeline.language
    found = matches(pipeline.language, known, country=hass.config.country)
    return found[0] if found else ""
