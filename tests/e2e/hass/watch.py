"""Tells on the event bus what our entity gives to Home Assistant, through whichever door."""

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

from homeassistant.components.stt import SpeechMetadata, SpeechResult
from homeassistant.core import HomeAssistant
from homeassistant.helpers.typing import ConfigType

from custom_components.wyoming_flux.stt import FluxSpeechToText as Entity


async def async_setup(hass: HomeAssistant, _config: ConfigType) -> bool:
    """Stand between the entity and its callers."""
    plain = Entity.async_process_audio_stream
    in_pieces = Entity.async_process_audio_stream_with_progress

    def tell(door: str, what: str, text: str | None = None) -> None:
        hass.bus.async_fire("watch", {"door": door, "what": what, "text": text})

    async def watched(
        self: Entity, metadata: SpeechMetadata, stream: AsyncIterable[bytes]
    ) -> SpeechResult:
        try:
            result = await plain(self, metadata, stream)
            tell("plain", type(result).__name__, result.text)
            return result
        finally:
            tell("plain", "over")

    async def watched_in_pieces(
        self: Entity, metadata: SpeechMetadata, stream: AsyncIterable[bytes]
    ) -> AsyncGenerator[Any]:
        pieces = in_pieces(self, metadata, stream)
        try:
            async for piece in pieces:
                tell("progress", type(piece).__name__, piece.text)
                yield piece
        finally:
            await pieces.aclose()
            tell("progress", "over")

    Entity.async_process_audio_stream = watched
    Entity.async_process_audio_stream_with_progress = watched_in_pieces
    return True
