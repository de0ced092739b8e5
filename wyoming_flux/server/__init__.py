"""Speaking Wyoming."""

from .server import Server
from .settings import Limits

__all__ = ["Limits", "Server"]
