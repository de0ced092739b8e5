"""What Home Assistant's log tells a person."""

import logging
from collections.abc import Iterable

BY_OTHERS = frozenset({"homeassistant.loader", "asyncio"})
"""Who speaks without our doing: of custom integrations, and of what a busy machine delays."""


def said_aloud(records: Iterable[logging.LogRecord]) -> list[str]:
    """Return the warnings and errors."""
    return [
        record.getMessage()
        for record in records
        if record.levelno >= logging.WARNING and record.name not in BY_OTHERS
    ]
