"""What our server is measured against: the least that can be done, and the usual way to do it.

``relay``: bytes in, WebSocket frames out, text back, nothing parsed. It sends the same frames as
our server: of 80 ms, and of 20 ms once there is text. ``relay-80``, ``relay-40`` and ``relay-20``
always send frames of that length, which shows what the length of a frame costs.
``library``: an event handler of the wyoming library, written as its examples are.

``python tests/bench/peers.py KIND URL`` prints its port and serves until it is terminated.
"""

import argparse
import asyncio
import contextlib
import json
import sys
from functools import partial

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

FRAME = 2560
BYTES_PER_MS = 32
FRAME_IN_TEXT = 20 * BYTES_PER_MS
_NO_TEXT = ('"transcript":""', '"transcript": ""')


def open_flux(url: str) -> connect:
    """Connect as our server does: no compression, no pings, no proxy."""
    return connect(
        f"{url}?encoding=linear16&sample_rate=16000",
        compression=None,
        ping_interval=None,
        proxy=None,
        close_timeout=1,
    )


async def relay(url: str, frame: int | None = None) -> int:
    """Listen; return the port. ``frame``: bytes of all frames; None: as our server has them."""

    async def back(
        websocket: ClientConnection, writer: asyncio.StreamWriter, frames: list[int]
    ) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = await websocket.recv()
                text = message.decode() if isinstance(message, bytes) else message
                writer.write(text.encode())
                if frame is None:
                    over = "EndOfTurn" in text or any(none in text for none in _NO_TEXT)
                    frames[0] = FRAME if over else FRAME_IN_TEXT

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting = b""
        frames = [frame or FRAME]
        with contextlib.suppress(ConnectionError, ConnectionClosed):
            async with open_flux(url) as websocket:
                answers = asyncio.create_task(back(websocket, writer, frames))
                try:
                    while data := await reader.read(65536):
                        waiting += data
                        if len(waiting) >= frames[0]:
                            await websocket.send(waiting)
                            waiting = b""
                finally:
                    answers.cancel()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]

    return port


async def library(url: str) -> int:
    """Listen; return the port."""
    from wyoming.asr import Transcript
    from wyoming.audio import AudioChunk, AudioStart
    from wyoming.event import Event
    from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
    from wyoming.server import AsyncEventHandler, AsyncTcpServer

    nobody = Attribution(name="", url="")
    model = AsrModel(
        name="flux",
        description="",
        attribution=nobody,
        installed=True,
        version="1",
        languages=["en"],
    )
    program = AsrProgram(
        name="flux",
        description="",
        attribution=nobody,
        installed=True,
        version="1",
        models=[model],
    )
    info = Info(asr=[program]).event()

    class Handler(AsyncEventHandler):
        websocket: ClientConnection | None = None
        answers: asyncio.Task[None] | None = None
        waiting = b""

        async def handle_event(self, event: Event) -> bool:
            if AudioChunk.is_type(event.type):
                self.waiting += AudioChunk.from_event(event).audio
                if len(self.waiting) >= FRAME and self.websocket is not None:
                    with contextlib.suppress(ConnectionClosed):
                        await self.websocket.send(self.waiting)
                    self.waiting = b""
            elif AudioStart.is_type(event.type):
                self.websocket = await open_flux(url)
                self.answers = asyncio.create_task(self.answer(self.websocket))
            elif Describe.is_type(event.type):
                await self.write_event(info)
            return True

        async def answer(self, websocket: ClientConnection) -> None:
            with contextlib.suppress(ConnectionClosed, ConnectionError):
                while True:
                    message = json.loads(await websocket.recv())
                    if message.get("event") == "EndOfTurn":
                        await self.write_event(Transcript(message["transcript"]).event())

        async def disconnect(self) -> None:
            if self.answers is not None and self.websocket is not None:
                self.answers.cancel()
                await self.websocket.close()

    server = AsyncTcpServer("127.0.0.1", 0)
    await server.start(partial(Handler))
    listening = server._server
    assert isinstance(listening, asyncio.Server)
    port: int = listening.sockets[0].getsockname()[1]
    return port


async def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("relay", "relay-80", "relay-40", "relay-20", "library"))
    parser.add_argument("url")
    arguments = parser.parse_args()
    if arguments.kind == "library":
        port = await library(arguments.url)
    else:
        length = arguments.kind.partition("-")[2]
        port = await relay(arguments.url, int(length) * BYTES_PER_MS if length else None)
    print(f"Listening on tcp://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
