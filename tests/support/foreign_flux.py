"""A Flux written from Deepgram's documentation alone, for judging the product from outside.

It imports nothing of ``wyoming_flux``, hears the words of :mod:`.coded_audio`, and misbehaves as
:class:`.foreign_behaviour.Behaviour` says. As a program:
``python -m tests.support.foreign_flux --port 8788 window_lag=0.8 drop_after=15``.
"""

import argparse
import asyncio
import time
from typing import Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from .coded_audio import RATE
from .foreign_behaviour import GOOD, Behaviour, Stream, behaviour_from
from .foreign_session import Session


class _Connection(ServerConnection):
    """Takes the next behaviour the moment TCP is accepted."""

    flux: "ForeignFlux"
    stream: Stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.WriteTransport)
        self.stream = self.flux.accepted(transport)
        if self.stream.behaviour.accept_close:
            self.stream.ended_by = "accept and close"
            transport.close()


class ForeignFlux:
    """Listens on a free port of loopback, as an async context manager."""

    def __init__(self, *behaviours: Behaviour, port: int = 0) -> None:
        """The first connection behaves as the first, and so on; all further ones as the last."""
        self.behaviours = behaviours or (GOOD,)
        self.streams: list[Stream] = []
        self.port = port
        self.news = asyncio.Event()
        """Set with each frame and each message."""
        self._transports: list[asyncio.WriteTransport] = []
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.port}"

    def accepted(self, transport: asyncio.WriteTransport) -> Stream:
        """Begin the record of a connection."""
        self._transports.append(transport)
        number = min(len(self.streams), len(self.behaviours) - 1)
        self.streams.append(Stream(self.behaviours[number], time.monotonic()))
        return self.streams[-1]

    @property
    def wrong(self) -> list[str]:
        """What no Flux would have forgiven, of all streams."""
        never = {"KeepAlive", "Finalize"}
        return [
            wrong
            for stream in self.streams
            for wrong in (*stream.wrong, *(one for one in stream.controls if one in never))
        ]

    async def heard(self, seconds: float, patience: float = 20.0) -> None:
        """Wait until the newest stream has received so much audio."""
        async with asyncio.timeout(patience):
            while not self.streams or self.streams[-1].samples < seconds * RATE:
                self.news.clear()
                await self.news.wait()

    async def said(self, text: str, within: float = 20.0) -> None:
        """Wait until the newest stream has sent a message with this transcript."""
        async with asyncio.timeout(within):
            while not any(
                message.get("transcript") == text
                for stream in self.streams[-1:]
                for _, message in stream.messages
            ):
                self.news.clear()
                await self.news.wait()

    def story(self, streams: int = 8) -> str:
        """Return the last streams for the report of a test that failed."""
        return "\n".join(stream.story() for stream in self.streams[-streams:])

    async def __aenter__(self) -> Self:
        factory = type("_Connection", (_Connection,), {"flux": self})
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            process_request=self._upgrade,
            create_connection=factory,
            compression=None,
            ping_interval=None,
            open_timeout=None,
            close_timeout=1,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for transport in self._transports:
            transport.abort()
        self._server.close()
        await self._server.wait_closed()

    async def _upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, _Connection)
        stream = connection.stream
        stream.query = parse_qs(urlsplit(request.path).query)
        if stream.behaviour.handshake_delay == float("inf"):
            await connection.wait_closed()
            return connection.respond(503, "gone\n")
        await asyncio.sleep(stream.behaviour.handshake_delay)
        if stream.behaviour.refuse:
            stream.ended_by = f"refused with {stream.behaviour.refuse}"
            return connection.respond(stream.behaviour.refuse, "refused\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Connection)
        connection.stream.opened = time.monotonic()
        await Session(connection, connection.stream, self.news).run()


def main() -> None:
    """Run from the command line until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8788)
    parser.add_argument("behaviour", nargs="*", help="name=value of a Behaviour")
    options = parser.parse_args()

    async def run() -> None:
        async with ForeignFlux(behaviour_from(options.behaviour), port=options.port) as flux:
            print(f"Listening on {flux.url}", flush=True)
            await asyncio.get_running_loop().create_future()

    asyncio.run(run())


if __name__ == "__main__":
    main()
