"""Bytes on the WebSocket that no message is made of: frames too large, broken, or of no end."""

import asyncio
import base64
import hashlib
import re
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.far_end import raw_server, silent
from tests.support.processes import Received, WyomingClient
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Server
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings

Run = Callable[[Callable[[], Awaitable[Any]]], Any]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Return a frame of a server."""
    first = opcode | (0x80 if final else 0)
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


HOSTILE = {
    "2 MiB of text": frame(1, b"x" * (2 << 20)),
    "a frame of 2**62 bytes": struct.pack("!BBQ", 0x81, 127, 1 << 62) + b"x" * 1000,
    "fragments without end": frame(1, b"x" * 60_000, final=False)
    + frame(0, b"x" * 60_000, final=False) * 40,
    "text that is not UTF-8": frame(1, b"\xff\xfe\xfd"),
    "a masked frame": b"\x81\x81abcdx",
    "a reserved opcode": frame(11, b"x"),
    "a reserved bit": b"\xf1\x01x",
    "a long ping": frame(9, b"x" * 1000),
    "thousands of pings": frame(9, b"x") * 5000,
    "thousands of messages": frame(1, b'{"type":"TurnInfo","event":"Update","turn_index":0}')
    * 9000,
    "half a close": b"\x88\x01x",
    "a close with a code of no meaning": frame(8, struct.pack("!H", 999)),
    "a close with a reason that is not UTF-8": frame(8, struct.pack("!H", 1011) + b"\xff"),
    "HTTP": b"HTTP/1.1 200 OK\r\n\r\n<html>",
    "noise": bytes(range(256)) * 500,
    "nothing": b"",
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("hangs_up", [True, False], ids=["hangs up", "stays"])
def test_hostile_bytes(
    run_fast: Run, caplog: pytest.LogCaptureFixture, said: bytes, hangs_up: bool
) -> None:
    """The turn is answered in time, with an error or without text; others are served meanwhile."""

    async def flux(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"sec-websocket-key: *(\S+)", request, re.IGNORECASE)
        assert found is not None
        accept = base64.b64encode(hashlib.sha1(found.group(1) + GUID).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n" + said
        )
        await writer.drain()
        if not hangs_up:
            await silent(reader, writer)

    async def main() -> Received:
        async with raw_server(flux) as address:
            server = Server(
                Connector(Endpoint.from_url(f"ws://{address}", route="workers-ai")),
                FluxSettings(),
                UtteranceSettings(),
                ServerSettings(uri="tcp://127.0.0.1:0"),
            )
            await server.start()
            async with (
                await WyomingClient.connect(server.uri) as client,
                await WyomingClient.connect(server.uri) as other,
            ):
                await client.begin()
                await client.fast(bytes(64000))
                await client.stop()
                await other.describe(5)
                answer = await client.answer(30)
            await server.stop()
            return answer

    answer = run_fast(main)
    assert answer.data["text"].isprintable()
    if answer.kind == "transcript":
        assert answer.data["text"] == ""
    else:
        assert answer.data["code"] in ("connection-lost", "timeout", "not-flux", "unreachable")
    assert not [record for record in caplog.records if record.exc_info], "a traceback was logged"
