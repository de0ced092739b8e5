"""How the server behaves: what a person sets, and the limits that nobody has to know."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from wyoming_flux.errors import InvalidSetting

from .access import NEARBY, Network
from .address import Address, parse_uri
from .usage import check_minutes

MAX_NAME_CHARACTERS: Final = 100
MAX_CONNECTIONS_RANGE: Final = (1, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What can be set. Raises :class:`InvalidSetting`, naming the field."""

    uri: str = "tcp://0.0.0.0:10300"
    """Where to listen: ``tcp://host:port`` (port 0: any free one) or ``unix:///path``."""
    name: str = "flux"
    """Program name in ``info``; Home Assistant tells engines apart by it."""
    external_vad: bool = False
    """Whether Home Assistant is asked to detect the end of speech, too."""
    allow: tuple[Network, ...] = NEARBY
    """Networks whose clients are let in; a Unix socket is guarded by its file."""
    max_connections: int = 64
    """Connections at once; the longest idle one makes room."""
    daily_minutes: float | None = None
    """Minutes of audio per UTC day that may be sent to Flux; None: any number."""
    debug: bool = False
    """Whether transcripts may be logged."""

    def __post_init__(self) -> None:
        """Check every value."""
        _ = self.address
        if not self.name.strip() or len(self.name) > MAX_NAME_CHARACTERS:
            raise InvalidSetting("name", f"name must have 1 to {MAX_NAME_CHARACTERS} characters")
        for network in self.allow:
            if not isinstance(network, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
                raise InvalidSetting("allow", f"allow needs networks, not {network!r}")
        low, high = MAX_CONNECTIONS_RANGE
        if type(self.max_connections) is not int or not low <= self.max_connections <= high:
            raise InvalidSetting(
                "max_connections",
                f"max_connections must be a whole number from {low} to {high},"
                f" not {self.max_connections!r}",
            )
        check_minutes(self.daily_minutes)

    @property
    def address(self) -> Address:
        """The parsed ``uri``; raises :class:`InvalidSetting` (``uri``)."""
        return parse_uri(self.uri)


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
