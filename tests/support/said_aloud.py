"""What Home Assistant's log tells a person."""

import logging
from collections.abc import Iterable


def said_aloud(records: Iterable[logging.LogRecord]) -> list[str]:
    """Return the warnings and errors, but for those without our doing."""
    return [
        record.getMessage()
        for record in records
        if record.levelno >= logging.WARNING and not _by_others(record)
    ]


def _by_others(record: logging.LogRecord) -> bool:
    """Whether it is of custom integrations as such, or of what a busy machine delays."""
    # In debug mode asyncio names each callback that took long; all else that it says is a fault.
    slow = record.name == "asyncio" and record.getMessage().startswith("Executing <")
    return slow or record.name == "homeassistant.loader"
