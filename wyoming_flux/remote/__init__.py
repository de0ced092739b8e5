"""Another Wyoming engine: as a transcriber of one utterance, and as an endpoint of many."""

from .endpoint import Remote, RemoteConnection
from .transcriber import RemoteTranscriber, ServerError, Wish

__all__ = ["Remote", "RemoteConnection", "RemoteTranscriber", "ServerError", "Wish"]
