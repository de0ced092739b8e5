"""Speaking Wyoming."""

from .server import Server
from .settings import NEARBY, Limits, Network, ServerSettings, parse_network, parse_uri

__all__ = [
    "NEARBY",
    "Limits",
    "Network",
    "Server",
    "ServerSettings",
    "parse_network",
    "parse_uri",
]
