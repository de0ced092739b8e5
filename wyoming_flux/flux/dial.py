"""TCP to one endpoint: a look-up that attempts share, and addresses side by side (RFC 8305).

Why not ``loop.create_connection(happy_eyeballs_delay=...)``: it looks the name up itself, so each
attempt that is given up would give up its look-up with it, and a slow resolver would never be
waited for.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, Final

_NEXT_ADDRESS: Final = 0.25
"""Seconds after which the next address is tried beside those before it (RFC 8305, section 5)."""

_Address = tuple[Any, ...]
"""What ``getaddrinfo`` gives: family, type, protocol, canonical name, socket address."""


class Dialler:
    """The way to one host and port, for all attempts of a process."""

    def __init__(self, host: str, port: int) -> None:
        """Take a name or an address; nothing is looked up yet."""
        self._host = host
        self._port = port
        self._lookup: asyncio.Task[list[_Address]] | None = None
        self._waiting = 0
        self._good: object = None
        """The socket address that answered last: tried first as long as the name leads to it."""

    async def connect(self) -> socket.socket:
        """Return a connected socket; raises ``OSError``. To be bounded by the caller."""
        addresses = _interleaved(await self._addresses())
        addresses.sort(key=lambda address: address[4] != self._good)
        connected = await _first_of(addresses)
        with contextlib.suppress(OSError):  # gone already: whoever uses it will see
            self._good = connected.getpeername()
        return connected

    async def _addresses(self) -> list[_Address]:
        """Look up once for all that wait; the last one that gives up cancels it."""
        if literal := _literal(self._host, self._port):
            return [literal]
        loop = asyncio.get_running_loop()
        if self._lookup is None:
            self._lookup = loop.create_task(
                loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            )
        lookup = self._lookup
        self._waiting += 1
        try:
            await asyncio.wait([lookup])
            return lookup.result()
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                # Not kept: a name may lead elsewhere by the next time.
                self._lookup = None
                lookup.cancel()


def _literal(host: str, port: int) -> _Address | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if "%" in host:
        return None  # the resolver knows the number of the interface
    if version == 4:
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)
    return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)


def _interleaved(addresses: Sequence[_Address]) -> list[_Address]:
    """Return the addresses with the families in turn, the resolver's first one first."""
    families: dict[int, list[_Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    turns = [(turn, address) for one in families.values() for turn, address in enumerate(one)]
    return [address for _, address in sorted(turns, key=lambda pair: pair[0])]


async def _first_of(addresses: Sequence[_Address]) -> socket.socket:
    """Connect to the first that answers; the others are given up. Raises the first ``OSError``."""
    waiting = list(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_connect(waiting.pop(0))))
            done, running = await asyncio.wait(
                running,
                timeout=_NEXT_ADDRESS if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            connected = [one.result() for one in done if not _failed(one, errors)]
            for loser in connected[1:]:
                loser.close()
            if connected:
                return connected[0]
    finally:
        await _give_up(running)
    raise errors[0] if errors else OSError("the name leads to no address")


def _failed(task: asyncio.Task[socket.socket], errors: list[OSError]) -> bool:
    error = task.exception()
    if error is None:
        return False
    if not isinstance(error, OSError):
        raise error
    errors.append(error)
    return True


async def _give_up(running: set[asyncio.Task[socket.socket]]) -> None:
    for task in running:
        task.cancel()
    for connected in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(connected, socket.socket):
            connected.close()


async def _connect(address: _Address) -> socket.socket:
    family, kind, protocol, _, where = address
    connecting = socket.socket(family, kind, protocol)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, where)
    except BaseException:
        connecting.close()
        raise
    return connecting
