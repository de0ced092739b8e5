"""Announces the server in the local network (mDNS), so that Home Assistant finds it by itself.

Not ``wyoming.zeroconf``: that makes a new name at each start of a container, which Home Assistant
takes for another device, announces what it was told even if that is 0.0.0.0, and never takes its
announcement back.
"""

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from collections.abc import AsyncIterator
from typing import Final

from wyoming_flux.address import parse_uri
from wyoming_flux.errors import InvalidSetting, os_reason

_LOGGER: Final = logging.getLogger(__name__)
_TYPE: Final = "_wyoming._tcp.local."
_MAX_NAME: Final = 63
# What Docker calls a container that was given no name: another one at each start.
_RANDOM_HOST: Final = re.compile(r"[0-9a-f]{12}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@contextlib.asynccontextmanager
async def announced(uri: str, name: str) -> AsyncIterator[None]:
    """Announce the server at *uri* as *name* ("": the usual one) until left.

    Raises :class:`InvalidSetting` (``zeroconf``) where that is not possible.
    """
    try:
        from zeroconf import Error, IPVersion, NonUniqueNameException, ServiceInfo
        from zeroconf.asyncio import AsyncZeroconf
    except ImportError:
        raise InvalidSetting(
            "zeroconf", "this needs the extra: pip install 'wyoming-flux[zeroconf]'"
        ) from None
    name = instance_name(name, socket.gethostname())
    where = parse_uri(uri)
    if where.path is not None:
        raise InvalidSetting("zeroconf", "a Unix socket cannot be reached from the network")
    try:
        addresses = await asyncio.to_thread(announced_addresses, where.host)
    except OSError as error:
        raise _impossible(error) from error
    info = ServiceInfo(
        _TYPE,
        f"{name}.{_TYPE}",
        port=where.port,
        # The name of this machine belongs to its own responder; ours must not contend for it.
        server=f"{re.sub(r'[^A-Za-z0-9-]+', '-', name)}.local.",
        parsed_addresses=[str(address) for address in addresses],
    )
    versions = {
        frozenset({4}): IPVersion.V4Only,
        frozenset({6}): IPVersion.V6Only,
        frozenset({4, 6}): IPVersion.All,
    }
    try:
        zeroconf = AsyncZeroconf(
            interfaces=[str(address) for address in addresses],
            ip_version=versions[frozenset(address.version for address in addresses)],
        )
    except (OSError, RuntimeError) as error:
        # Another responder that shares its port with nobody; an address that has just gone.
        raise _impossible(error) from error
    try:
        try:
            # The first wait is for the name to be free, the second for the announcement.
            await (await zeroconf.async_register_service(info))
        except NonUniqueNameException:
            raise InvalidSetting(
                "zeroconf", f"another server here is called {name!r}: give this one its own NAME"
            ) from None
        except Error as error:
            raise _impossible(error) from error
        shown = ", ".join(str(address) for address in addresses)
        _LOGGER.info("Announced as %s at %s", name, shown)
        yield
    finally:
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


def _impossible(error: Exception) -> InvalidSetting:
    reason = os_reason(error) if isinstance(error, OSError) else str(error) or type(error).__name__
    return InvalidSetting("zeroconf", f"the server cannot be announced: {reason}")


def instance_name(wished: str, host: str) -> str:
    """Return the name to announce: as wished, else made from the host's, which stays the same."""
    if wished:
        if len(wished.encode()) > _MAX_NAME or not wished.isprintable():
            raise InvalidSetting("zeroconf", f"a name has at most {_MAX_NAME} bytes: {wished!r}")
        return wished.replace(".", "-")
    host = host.partition(".")[0]
    if _RANDOM_HOST.fullmatch(host) or host in ("", "localhost"):
        return "wyoming-flux"
    return f"wyoming-flux-{host}"[:_MAX_NAME]


def announced_addresses(host: str) -> list[Address]:
    """Return the addresses at which others reach a server that listens on *host*."""
    try:
        bound = ipaddress.ip_address(host)
    except ValueError:
        bound = ipaddress.ip_address(socket.gethostbyname(host))
    if not bound.is_unspecified:
        return [bound]
    found = [one for one in _interface_addresses() if bound.version == 6 or one.version == 4]
    if not found:
        raise InvalidSetting(
            "zeroconf", "this machine has no address in a network: name one with --uri"
        )
    return found


def _interface_addresses() -> list[Address]:
    # A dependency of zeroconf.
    import ifaddr

    found: list[Address] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text)
            # Link-local IPv6 means nothing without its interface; Docker's bridges reach no one.
            if address.is_loopback or (address.version == 6 and address.is_link_local):
                continue
            if address.version == 4 and adapter.name.startswith(("docker", "br-", "veth")):
                continue
            found.append(address)
    return found
