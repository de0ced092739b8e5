"""Who may connect: the port has no password, so by default only who is near."""

import ipaddress

from wyoming_flux.address import Network


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
