"""How every WebSocket of ours is opened: no redirects, and a log without secrets."""

import logging
from typing import Final

from websockets.asyncio.client import connect


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that stays at INFO: at DEBUG ``websockets`` prints all that is sent, tokens too."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return level >= logging.INFO and super().isEnabledFor(level)


QUIET: Final = _QuietLogger(logging.getLogger("wyoming_flux.websocket"), {})


class Connect(connect):
    """``connect`` that follows no redirect: the token belongs to the host that was configured."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the refusal as it is."""
        return exc
