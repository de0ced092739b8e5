"""Speaking Wyoming."""

from wyoming_flux.address import NEARBY, Network, parse_network
from wyoming_flux.settings import ServerSettings

from .report import TurnReport
from .server import Server
from .settings import Limits
from .usage import DailyMinutes, UsageFile

__all__ = [
    "NEARBY",
    "DailyMinutes",
    "Limits",
    "Network",
    "Server",
    "ServerSettings",
    "TurnReport",
    "UsageFile",
    "parse_network",
]
