"""Who may connect: the port has no password, so by default only who is near."""

import ipaddress
from typing import Final

from wyoming_flux.errors import InvalidSetting

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
