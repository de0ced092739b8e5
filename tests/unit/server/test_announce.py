"""The announcement in the local network."""

import asyncio
import errno
import ipaddress
import os
import socket

import ifaddr
import pytest
from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.server.announce import announced, announced_addresses, instance_name


@pytest.mark.parametrize(
    ("wished", "host", "name"),
    [
        ("", "kitchen-pi.lan", "wyoming-flux-kitchen-pi"),
        ("", "kitchen-pi", "wyoming-flux-kitchen-pi"),
        # A container without a name of its own is called otherwise at each start.
        ("", "0f3a9bc4d512", "wyoming-flux"),
        ("", "localhost", "wyoming-flux"),
        ("Kitchen", "anything", "Kitchen"),
        ("v1.2", "anything", "v1-2"),
    ],
)
def test_the_name_is_stable(wished: str, host: str, name: str) -> None:
    """Home Assistant makes a new device of each new name."""
    assert instance_name(wished, host) == name


@pytest.mark.parametrize("wished", ["x" * 64, "a\nb"])
def test_a_name_that_cannot_be_announced(wished: str) -> None:
    """DNS labels have 63 bytes."""
    with pytest.raises(InvalidSetting, match="at most 63 bytes"):
        instance_name(wished, "host")


def adapter(name: str, *addresses: str) -> ifaddr.Adapter:
    """Return an interface of a machine, as ifaddr reports it."""
    ips = [
        ifaddr.IP((one, 0, 0) if ":" in one else one, 64 if ":" in one else 24, name)
        for one in addresses
    ]
    return ifaddr.Adapter(name, name, ips)


LOOPBACK = adapter("lo", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("bound", "expected"),
    [("0.0.0.0", ["192.0.2.7"]), ("::", ["192.0.2.7", "2001:db8::7"])],
)
def test_never_the_unspecified_address(
    bound: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.0.0.0 stands for where others reach the machine: not loopback, no bridge of Docker's."""
    adapters = [
        LOOPBACK,
        adapter("eth0", "192.0.2.7", "fe80::7", "2001:db8::7"),
        adapter("docker0", "172.17.0.1"),
    ]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: adapters)
    assert [str(one) for one in announced_addresses(bound)] == expected


def test_a_machine_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to announce then, and nobody to hear it."""
    monkeypatch.setattr("ifaddr.get_adapters", lambda: [LOOPBACK])
    with pytest.raises(InvalidSetting, match="no address in a network"):
        announced_addresses("0.0.0.0")


def test_the_address_it_is_bound_to() -> None:
    """A server on one address is announced there alone."""
    assert announced_addresses("192.0.2.7") == [ipaddress.ip_address("192.0.2.7")]


async def test_a_unix_socket_cannot_be_announced() -> None:
    """Nobody in the network could reach it."""
    with pytest.raises(InvalidSetting, match="Unix socket"):
        async with announced("unix:///run/flux.sock", ""):
            pass


async def test_what_cannot_be_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of nobody, a socket that the library does not get: one sentence, no traceback."""

    def refuse(**_: object) -> None:
        # As the library does at a missing interface; the real one leaves its socket open then.
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr("zeroconf.asyncio.AsyncZeroconf", refuse)
    for host, reason in (("nowhere.invalid", ".+"), ("192.0.2.1", "No such device")):
        with pytest.raises(InvalidSetting, match=f"cannot be announced: {reason}") as refused:
            async with announced(f"tcp://{host}:10300", "x"):
                pass
        assert refused.value.name == "zeroconf"


async def test_others_find_it_until_it_stops() -> None:
    """A browser sees name, address and port, and sees them go; nobody waits for a time-out."""
    seen: asyncio.Queue[tuple[str, ServiceStateChange]] = asyncio.Queue()
    name = f"flux-test-{socket.gethostname()}"[:40]

    def on_change(zeroconf: object, service_type: str, name: str, state_change: object) -> None:
        assert isinstance(state_change, ServiceStateChange)
        seen.put_nowait((name, state_change))

    async with asyncio.timeout(20):
        there = AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only)
        browser = AsyncServiceBrowser(there.zeroconf, "_wyoming._tcp.local.", handlers=[on_change])
        try:
            full = f"{name}._wyoming._tcp.local."
            async with announced("tcp://127.0.0.1:10300", name):
                assert await seen.get() == (full, ServiceStateChange.Added)
                info = AsyncServiceInfo("_wyoming._tcp.local.", full)
                assert await info.async_request(there.zeroconf, 3000)
                assert info.port == 10300
                assert info.parsed_addresses() == ["127.0.0.1"]
            while (event := await seen.get()) != (full, ServiceStateChange.Removed):
                assert event[1] is ServiceStateChange.Updated
        finally:
            await browser.async_cancel()
            await there.async_close()
