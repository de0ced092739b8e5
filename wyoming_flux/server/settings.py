"""How the server behaves: where it listens, who may come, and the limits nobody has to know."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.minutes import check_minutes

MAX_NAME_CHARACTERS: Final = 100
MAX_CONNECTIONS_RANGE: Final = (1, 10_000)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NEARBY: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(network)
    for network in (
        # Loopback
        "127.0.0.0/8",
        "::1/128",
        # Private (RFC 1918, RFC 4193)
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        # Link-local (RFC 3927, RFC 4291)
        "169.254.0.0/16",
        "fe80::/10",
    )
)
"""Loopback, private and link-local addresses."""


@dataclass(frozen=True, slots=True)
class Address:
    """Either a host and port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        """Return the URI of this address."""
        if self.path is not None:
            return f"unix://{self.path}"
        return (
            f"tcp://[{self.host}]:{self.port}"
            if ":" in self.host
            else (f"tcp://{self.host}:{self.port}")
        )


def parse_uri(uri: str) -> Address:
    """Return the address of ``tcp://host:port`` or ``unix:///path``.

    Raises :class:`InvalidSetting` (``uri``).
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _wrong(uri) from None
    if parts.scheme == "unix":
        # unix://name/x has a host, which is a forgotten slash.
        if parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/"):
            raise InvalidSetting("uri", f"uri needs a full path, as in unix:///run/x, not {uri!r}")
        return Address(path=Path(parts.path))
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme != "tcp" or not host or port is None or extra:
        raise _wrong(uri)
    return Address(host=host, port=port)


def _wrong(uri: str) -> InvalidSetting:
    return InvalidSetting(
        "uri", f"uri must be like tcp://0.0.0.0:10300 or unix:///run/flux.sock, not {uri!r}"
    )


def parse_network(text: str) -> Network:
    """Return the network that a person typed, such as ``192.168.1.0/24`` or a single address.

    Bits below the mask do not matter. Raises :class:`InvalidSetting` (``allow``).
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise InvalidSetting(
            "allow", f"allow needs networks such as 192.168.1.0/24, not {text!r}"
        ) from None


def is_allowed(host: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether the address *host* is in one of the *networks*."""
    try:
        # A link-local address comes with its interface: fe80::1%eth0.
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        # How an IPv4 client looks to a socket that listens for both.
        address = address.ipv4_mapped
    return any(address in network for network in networks)


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
    """Bytes of audio that the transcriber has not taken before reading pauses."""
    events_per_second: int = 2000
    """Events without audio, and as many at once; more: closed."""
    utterances_per_second: int = 10
    """Utterances begun, and as many at once; more: closed."""
