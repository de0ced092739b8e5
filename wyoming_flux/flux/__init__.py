"""Speaking Flux, and nothing else."""

from .advice import what_to_do
from .check import Verdict, check_flux
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
    "Verdict",
    "check_flux",
    "what_to_do",
]
