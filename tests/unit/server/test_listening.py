"""Where the server listens, who is let in, and how it stops: over real sockets."""

import asyncio
import ipaddress
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from wyoming.asr import Transcribe
from wyoming.info import Describe

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Limits, Server
from wyoming_flux.server.client import Client
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings


async def test_strangers_are_not_let_in(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Closed without a word; one warning for each address, however often it comes."""
    one = await serve(allow=(ipaddress.ip_network("192.0.2.0/24"),))
    for _ in range(3):
        client = await one.connect()
        await client.send(Describe().event())
        assert await client.read() is None
    said = [record for record in caplog.records if "127.0.0.1 refused" in record.message]
    assert [record.levelno for record in said] == [logging.WARNING, logging.DEBUG, logging.DEBUG]
    assert "--allow" in said[0].message


@pytest.mark.parametrize("uri", ["tcp://[::]:0", "tcp://[::1]:0", "tcp://localhost:0"])
async def test_both_protocols(serve: Any, uri: str) -> None:
    """IPv6 addresses can be listened on, and "[::]" lets IPv4 clients in, too."""
    one = await serve(uri=uri)
    await (await one.connect()).alive()
    if "[::]" in uri:
        one.server.uri = one.server.uri.replace("[::]", "127.0.0.1")
        await (await one.connect()).alive()


async def test_unix_socket(serve: Any, tmp_path: Path, say: Any) -> None:
    """Serves on a Unix socket, whoever is allowed on TCP; the file goes with the server."""
    path = tmp_path / "flux.sock"
    one = await serve(uri=f"unix://{path}", allow=())
    assert one.server.uri == f"unix://{path}"
    client = await one.connect()
    await client.send(*say(stop=True))
    await one.answers(client, "by file")
    async with one.library_client() as other:
        await other.write_event(Describe().event())
        assert (await other.read_event()).type == "info"
    await one.server.stop(grace=0)
    assert not path.exists()


async def test_a_left_over_socket_file_is_removed(serve: Any, tmp_path: Path) -> None:
    """After a crash the next start works."""
    path = tmp_path / "flux.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    one = await serve(uri=f"unix://{path}")
    await (await one.connect()).alive()


def make_server(**settings: Any) -> Server:
    """Make a server without anything."""
    return Server(
        Connector(Endpoint.from_url("ws://127.0.0.1:1")),
        FluxSettings(),
        UtteranceSettings(),
        ServerSettings(**settings),
    )


async def test_what_is_in_the_way_is_named(serve: Any, tmp_path: Path) -> None:
    """A port or socket in use, a plain file, a missing folder: one sentence with its name."""
    live = await serve(uri=f"unix://{tmp_path / 'live.sock'}")
    (tmp_path / "file").touch()
    tcp = await serve()
    for uri, says in (
        (live.server.uri, "another server answers there"),
        (f"unix://{tmp_path}/file", "a file is in the way"),
        (f"unix://{tmp_path}/missing/x", "No such file"),
        (tcp.server.uri, "ddress already in use"),
        ("tcp://192.0.2.1:10300", "annot assign requested address|could not bind"),
    ):
        with pytest.raises(InvalidSetting, match=says) as caught:
            await make_server(uri=uri).start()
        assert caught.value.name == "uri"
        assert uri in str(caught.value)
    await (await live.connect()).alive()


async def test_stopping_lets_running_turns_finish(serve: Any, say: Any) -> None:
    """Idle clients are closed, no one gets in, a running turn is answered, a new one refused."""
    one = await serve()
    idle, speaking, next_one = [await one.connect() for _ in range(3)]
    await speaking.send(*say())
    utterance = await one.utterance()
    await next_one.send(*say())
    await (await one.utterance(2)).heard(2560)
    stopping = asyncio.create_task(one.server.stop(grace=5))
    await idle.closed()
    with pytest.raises(OSError, match=r".*"):
        await one.connect()
    await next_one.send(*say())
    code, text = await next_one.read_error()
    assert (code, text) == ("busy", "The server is stopping; try again in a moment.")
    utterance.hear("just in time")
    assert await speaking.read_answer() == "just in time"
    assert await speaking.read() is None
    assert await next_one.read() is None
    speaking.close()
    next_one.close()
    await stopping
    assert one.server.connections == 0
    await one.server.stop()


async def test_stopping_answers_the_rest_with_an_error(serve: Any, say: Any) -> None:
    """When the grace is over each running turn, and one that waits, gets an error."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(stop=True), *say())
    utterance = await one.utterance()
    stopping = asyncio.create_task(one.server.stop(grace=0.05))
    assert (await client.read_error())[0] == "busy"
    assert (await client.read_error())[0] == "busy"
    assert await client.read() is None
    await utterance.closed.wait()
    client.close()
    await stopping
    assert await one.outcome() == "busy"


async def test_stopping_does_not_wait_for_clients(serve: Any, say: Any) -> None:
    """A client that does not close is cut off."""
    one = await serve(limits=Limits(tick=60, linger=0.1))
    client = await one.connect()
    await client.send(*say())
    await one.utterance()
    async with asyncio.timeout(5):
        await one.server.stop(grace=0)
    assert one.server.connections == 0


async def test_a_connection_in_the_door_while_stopping(serve: Any) -> None:
    """One that was accepted just before the listener closed is closed: no client can time that."""
    one = await serve()
    await one.server.stop()
    connection = Client(one.server._shared, one.server._info, one.server)
    here, there = socket.socketpair()
    with there:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: connection, here
        )
        assert transport.is_closing()
        await one.server._wait_for_clients(asyncio.get_running_loop().time() + 1)
    assert one.server.connections == 0


async def test_stopping_what_never_started() -> None:
    """Stop without start is nothing."""
    await make_server().stop()


async def test_a_server_can_start_again(serve: Any) -> None:
    """After stop, start serves as before."""
    one = await serve()
    await one.server.stop()
    await one.server.start()
    client = await one.connect()
    await client.send(Transcribe().event())
    assert (await one.utterance()).started
