"""The limits of a connection that nobody has to know."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may take; times in seconds. Tests scale them down."""

    idle: float = 300.0
    """Nothing said and no turn running: closed."""
    half_event: float = 60.0
    """An event begun and not completed: closed."""
    discarded_audio: float = 60.0
    """Audio after the answer that nobody waits for: closed."""
    write_stall: float = 10.0
    """The client does not read what we write: closed."""
    linger: float = 2.0
    """How long we wait for the client to close after we said our last word."""
    tick: float = 1.0
    """How often all of these are looked at, and a paused connection for a client that has left."""
    unsent_audio: int = 256 * 1024
    """Bytes of audio in the client's format that wait to be converted before reading pauses."""
