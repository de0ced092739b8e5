"""What systemd is told, over a socket that stands in for it."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from wyoming_flux.cli.notify import notify


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A socket such as systemd gives to a service of ``Type=notify``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


async def test_a_service_is_ready_once_it_listens(systemd: socket.socket) -> None:
    """Systemd hears READY when clients can connect, and STOPPING when it is asked to end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wyoming_flux", "serve", "--uri", "tcp://127.0.0.1:0"),
        *("--worker-url", "ws://127.0.0.1:9", "--route", "workers-ai"),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert await asyncio.to_thread(systemd.recv, 100) == b"READY=1"
        assert server.stderr is not None
        assert b"Listening on" in await server.stderr.readuntil(b"Listening on")
        server.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(systemd.recv, 100) == b"STOPPING=1"
        assert await server.wait() == 0
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


def test_the_abstract_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the name begins with @, there is no file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"wyoming-flux-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_a_socket_that_is_gone_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server goes on; the log says that systemd knows nothing."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nothing"))
    notify("READY=1")
    assert "systemd was not told READY=1" in caplog.text


def test_without_systemd(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody asks to be told, and nothing is said."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    assert not caplog.records
