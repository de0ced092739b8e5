"""How every WebSocket of ours is opened: no redirects, no proxy, and a log without secrets."""

import logging
from typing import Any, Final

from websockets.asyncio.client import connect

from wyoming_flux import __version__

CLOSE_TIMEOUT: Final = 1.0
"""Seconds for the close handshake."""


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that stays at INFO: at DEBUG ``websockets`` prints all that is sent, tokens too."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return level >= logging.INFO and super().isEnabledFor(level)


QUIET: Final = _QuietLogger(logging.getLogger("wyoming_flux.websocket"), {})


class PlainConnect(connect):
    """``connect`` that follows no redirect: the token belongs to the host that was configured.

    No compression (audio does not shrink, and it costs CPU on both sides) and no proxy from the
    environment. Opening is to be bounded by the caller; closing takes 1 s at most. Raises what
    ``websockets`` does.
    """

    def __init__(self, url: str, **options: Any) -> None:
        """Take the URL, and what is special about this connection."""
        super().__init__(
            url,
            user_agent_header=f"wyoming-flux/{__version__}",
            compression=None,
            proxy=None,
            open_timeout=None,
            close_timeout=CLOSE_TIMEOUT,
            logger=QUIET,
            **options,
        )

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the refusal as it is."""
        return exc
