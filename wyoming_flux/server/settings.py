"""Who may come, and the limits of a client that nobody has to know."""

import ipaddress
from dataclasses import dataclass

from wyoming_flux.address import Network


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
