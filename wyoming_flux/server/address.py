"""Where to listen: an address becomes listening sockets."""

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wyoming_flux.address import Address
from wyoming_flux.errors import InvalidSetting, os_reason

_BACKLOG: Final = 256
_PROBE_TIMEOUT: Final = 1.0


async def listen(
    address: Address, protocol_factory: Callable[[], asyncio.BaseProtocol]
) -> tuple[asyncio.Server, Address]:
    """Listen at *address*; return the server and the address with its real port.

    Raises :class:`InvalidSetting` (``uri``) where that is not possible.
    """
    loop = asyncio.get_running_loop()
    try:
        if address.path is not None:
            await asyncio.to_thread(_clear, address.path)
            server = await loop.create_unix_server(
                protocol_factory, str(address.path), backlog=_BACKLOG
            )
            return server, address
        if address.host == "::":
            # asyncio alone would listen for IPv6 only, and refuse what people mean by "all".
            both = socket.has_dualstack_ipv6()
            sock = socket.create_server(
                ("::", address.port), family=socket.AF_INET6, dualstack_ipv6=both, backlog=_BACKLOG
            )
            server = await loop.create_server(protocol_factory, sock=sock)
        else:
            server = await loop.create_server(
                protocol_factory, address.host, address.port, backlog=_BACKLOG
            )
    except OSError as error:
        raise InvalidSetting("uri", f"cannot listen on {address}: {os_reason(error)}") from error
    port: int = server.sockets[0].getsockname()[1]
    return server, Address(host=address.host, port=port)


def remove_socket(path: Path) -> None:
    """Remove the file of a Unix socket that was closed (Python does so from 3.13 on)."""
    path.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    # asyncio removes any socket file before it listens, even one where another server answers.
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidSetting("uri", f"cannot listen on unix://{path}: a file is in the way")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise InvalidSetting("uri", f"cannot listen on unix://{path}: another server answers there")
