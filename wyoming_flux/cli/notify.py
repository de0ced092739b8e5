"""Tells systemd how the service is (``Type=notify``), as ``sd_notify(3)`` describes it."""

import logging
import os
import socket
from typing import Final

_LOGGER: Final = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Send *state*, such as ``READY=1``; without systemd (no ``NOTIFY_SOCKET``) do nothing."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    # A name that begins with @ stands for the abstract namespace, which begins with a zero byte.
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.connect(address)
            systemd.send(state.encode())
    except OSError as error:
        _LOGGER.warning("systemd was not told %s: %s", state, error)
