"""Where a server is and who may come near it, as people write it; no sockets."""

import ipaddress
import re
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
_HOME_DOMAINS: Final = (".lan", ".home", ".internal", ".home.arpa", ".localdomain")
_HOST: Final = re.compile(r"[0-9A-Za-z_.:%-]+")


def is_private_host(host: str) -> bool:
    """Whether a host is literally on this machine or in the home: no name is resolved."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith((".localhost", ".local")):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    # is_private also covers documentation and "this network" ranges, which lead nowhere.
    return address.is_loopback or address.is_link_local or address.is_private


def may_be_at_home(host: str) -> bool:
    """Whether a host may be in the home: those that have a certificate have a public name."""
    return is_private_host(host) or "." not in host or host.endswith(_HOME_DOMAINS)


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


def home_assistant_url(text: str) -> str:
    """Return the address of Home Assistant's WebSocket API of what a person typed or pasted.

    That may be any address of its pages, with or without a scheme; a path that ends in
    ``/websocket`` stays (the Supervisor has one of its own). Unencrypted only where the host may be
    in the home, for a token is sent there. Raises :class:`InvalidSetting` (``home_assistant``).
    """
    text = text.strip()
    typed = text if "://" in text else f"http://{text.removeprefix('//')}"
    try:
        parts = urlsplit(typed)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _not_home_assistant(text) from None
    if parts.username is not None or parts.password is not None:
        # Not shown: it may be a password.
        raise InvalidSetting(
            "home_assistant", "the URL must not hold a user name or password: a token is needed"
        )
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not host or not _HOST.fullmatch(host):
        raise _not_home_assistant(text)
    if not may_be_at_home(host):
        scheme = "wss"
    where = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/")
    path = path if path.endswith("/websocket") else "/api/websocket"
    return f"{scheme}://{where}{f':{port}' if port is not None else ''}{path}"


def _not_home_assistant(text: str) -> InvalidSetting:
    return InvalidSetting(
        "home_assistant",
        f"the URL must be like http://homeassistant.local:8123, not {text[:100]!r}",
    )


def _wrong(uri: str) -> InvalidSetting:
    return InvalidSetting(
        "uri", f"uri must be like tcp://0.0.0.0:10300 or unix:///run/flux.sock, not {uri!r}"
    )
