"""What an utterance came to, and what it cost: one value for log, sensors and health."""

from dataclasses import dataclass

from wyoming_flux.errors import WyomingFluxError

from .outcome import Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One utterance; valid at any time, final once its result is known."""

    trigger: Trigger | None = None
    """Why the answer was given then; None without one."""
    error: WyomingFluxError | None = None
    """Why there was none, or why something is missing in it."""
    missing: float = 0.0
    """Seconds of the client's audio that are not in the text."""
    characters: int = 0
    """Length of the text."""
    audio_seconds: float = 0.0
    """Audio sent in seconds, silence and replays included."""
    billed_seconds: float = 0.0
    """What of it went to Flux: this counts as minutes."""
    connect_ms: float | None = None
    """Milliseconds that the first successful connection took."""
    attempts: int = 0
    """Connections that were tried."""
    endpoint: str | None = None
    """Who answered."""
    faults: tuple[str, ...] = ()
    """What went wrong: which endpoints were down before, and what failed on the way, in order."""
    causes: tuple[tuple[str, WyomingFluxError], ...] = ()
    """What failed on the way, with whose it was."""
    after_audio_ms: float | None = None
    """Milliseconds from the last client audio to the result."""
    guess_ms: float | None = None
    """Milliseconds before the result at which an early guess had its text; None: none had."""
    guess_wrong: bool = False
    """Whether an early guess had another text."""
