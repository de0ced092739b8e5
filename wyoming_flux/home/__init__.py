"""The names of a home, asked of its Home Assistant over the WebSocket API."""

from .client import HomeAssistant

__all__ = ["HomeAssistant"]
