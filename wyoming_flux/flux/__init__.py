"""Speaking Flux, and nothing else."""

from .connection import FluxConnection
from .connector import Connector
from .endpoint import Endpoint, Route
from .messages import (
    Connected,
    FluxFault,
    FluxWarning,
    Garbage,
    Message,
    Other,
    TurnEvent,
    TurnInfo,
)
from .probe import first_message

__all__ = [
    "Connected",
    "Connector",
    "Endpoint",
    "FluxConnection",
    "FluxFault",
    "FluxWarning",
    "Garbage",
    "Message",
    "Other",
    "Route",
    "TurnEvent",
    "TurnInfo",
    "first_message",
]
