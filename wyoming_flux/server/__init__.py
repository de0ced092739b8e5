"""Speaking Wyoming."""

from .access import NEARBY, Network, parse_network
from .report import TurnReport
from .server import Server
from .settings import Limits, ServerSettings
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
