"""Speaking Flux, and nothing else."""

from .connection import FluxConnection
from .connector import Connector
from .endpoint import Endpoint, Route
from .learnt import Facts, Learnt
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
    "Facts",
    "FluxConnection",
    "FluxFault",
    "FluxWarning",
    "Garbage",
    "Learnt",
    "Message",
    "Other",
    "Route",
    "TurnEvent",
    "TurnInfo",
    "first_message",
]
