"""Where a server is and who may come near it, as people write it; no sockets."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .errors import InvalidSetting

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
