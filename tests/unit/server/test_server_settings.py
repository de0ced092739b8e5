"""Server settings: what is accepted, and what is said of the rest."""

import ipaddress

import pytest

from wyoming_flux.address import NEARBY, parse_network
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Server
from wyoming_flux.server.settings import is_allowed
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("tcp://0.0.0.0:10300", "tcp://0.0.0.0:10300"),
        ("tcp://localhost:0", "tcp://localhost:0"),
        ("tcp://[::1]:10300", "tcp://[::1]:10300"),
        ("tcp://host:1/", "tcp://host:1"),
        ("unix:///run/flux.sock", "unix:///run/flux.sock"),
    ],
)
def test_uris(uri: str, address: str) -> None:
    """TCP with host and port, Unix with a full path."""
    assert str(ServerSettings(uri=uri).address) == address


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "10300",
        "tcp://",
        "tcp://:10300",
        "tcp://host",
        "tcp://host:port",
        "tcp://host:70000",
        "tcp://host:1/path",
        "tcp://user@host:1",
        "tcp://host:1?x",
        "tcp://[::1:10300",
        "http://host:1",
        "stdio://",
        "unix://",
        "unix://run/flux.sock",
        "unix:///run/",
        "unix:flux.sock",
    ],
)
def test_wrong_uris(uri: str) -> None:
    """One sentence with an example, naming the setting."""
    with pytest.raises(InvalidSetting, match=r"uri (must be like|needs a full path)") as caught:
        ServerSettings(uri=uri)
    assert caught.value.name == "uri"


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.168.1.7/24", "192.168.1.0/24"),
        (" 10.1.2.3 ", "10.1.2.3/32"),
        ("fd00::1/8", "fd00::/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks(text: str, network: str) -> None:
    """A network or an address, as people write them."""
    assert parse_network(text) == ipaddress.ip_network(network)


@pytest.mark.parametrize("text", ["", "kitchen", "10.0.0.0/33", "10.0.0", "10.0.0.1-10.0.0.9"])
def test_wrong_networks(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidSetting, match="allow needs networks such as"):
        parse_network(text)


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("10.0.0.1", True),
        ("172.16.0.1", True),
        ("172.31.255.255", True),
        ("172.32.0.1", False),
        ("192.168.178.20", True),
        ("169.254.1.1", True),
        ("192.169.0.1", False),
        ("8.8.8.8", False),
        ("100.64.0.1", False),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("fd12::1", True),
        ("2001:db8::1", False),
        ("::ffff:192.168.1.1", True),
        ("::ffff:8.8.8.8", False),
        ("::", False),
        ("?", False),
        ("", False),
    ],
)
def test_who_is_near(host: str, near: bool) -> None:
    """Loopback, private and link-local, also as IPv4 in IPv6; nobody else."""
    assert is_allowed(host, NEARBY) is near


def test_settings_the_endpoint_cannot_carry() -> None:
    """A server that could not answer a single turn is not made."""
    with pytest.raises(InvalidSetting, match="flux-general-multi") as caught:
        Server(
            Connector(Endpoint.from_url("wss://x.workers.dev")),
            FluxSettings(model="flux-general-multi"),
            UtteranceSettings(),
            ServerSettings(),
        )
    assert caught.value.name == "model"
