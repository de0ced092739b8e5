"""Speaking Flux, and nothing else."""

from .advice import what_to_do
from .check import Verdict, check_flux
from .connection import FluxConnection
from .connector import Connector
from .endpoint import Endpoint, Route
from .learnt import EndpointMemory, Facts
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

__all__ = [
    "Connected",
    "Connector",
    "Endpoint",
    "EndpointMemory",
    "Facts",
    "FluxConnection",
    "FluxFault",
    "FluxWarning",
    "Garbage",
    "Message",
    "Other",
    "Route",
    "TurnEvent",
    "TurnInfo",
    "Verdict",
    "check_flux",
    "what_to_do",
]
