"""The log: text for a person, or one JSON object per line; never a secret, never the handshake."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

_TEXT: Final = "%(asctime)s %(levelname)s %(message)s"


def set_up(*, json_lines: bool = False, debug: bool = False, level: int = logging.INFO) -> None:
    """Log to standard error; ``debug`` is for our own modules, not for the libraries below them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if json_lines else logging.Formatter(_TEXT))
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    ours = logging.getLogger("wyoming_flux")
    ours.setLevel(logging.DEBUG if debug else level)
    # What else may log at DEBUG or INFO here says nothing to whom runs a server.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("websockets").setLevel(logging.WARNING)


class _JsonFormatter(logging.Formatter):
    """One object per line: time (ISO 8601, UTC), level, logger, message, utterance, error."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        utterance = getattr(record, "utterance", None)
        if utterance is not None:
            fields["utterance"] = utterance
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
