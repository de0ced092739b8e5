"""What became of a turn: one line in the log."""

import logging
from dataclasses import asdict, dataclass

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TurnReport:
    """One turn, when it is over."""

    turn: int
    """Number of the turn since the server started."""
    outcome: str
    """The trigger of the transcript, the code of the error, or ``disconnected``, ``superseded``."""
    audio_seconds: float
    """Audio sent to Flux: what is billed."""
    connect_ms: float | None
    """Milliseconds the connection took; None: there was none."""
    answer_ms: float | None
    """Milliseconds from the last audio of the client to the answer."""
    attempts: int
    """Connections tried."""
    characters: int
    """Length of the transcript."""

    def log(self) -> None:
        """Write the line; ``record.turn`` has the same as a dictionary, for logs as JSON."""
        _LOGGER.info(
            "Turn %d: %s, audio %.2f s, connect %s, answer %s, attempts %d, characters %d",
            self.turn,
            self.outcome,
            self.audio_seconds,
            _ms(self.connect_ms),
            _ms(self.answer_ms),
            self.attempts,
            self.characters,
            extra={"turn": asdict(self)},
        )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
