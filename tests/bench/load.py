"""The two ends of the bench, in one process so that one clock measures: Flux, and satellites.

Both are raw protocols that parse next to nothing: what they cost is in every figure, and the same
for whatever stands between them.
"""

import asyncio
import base64
import hashlib
import json
import random
import re
import struct
import time
from dataclasses import dataclass, field

CHUNK_MS = 10
UPDATE_SECONDS = 0.25
FIRST_TEXT = 0.75

_KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# The transcript event, or Flux's own message where it is passed on as it is.
_ANSWER = re.compile(rb'"transcript".*?bench-(\d+)-end', re.DOTALL)


def event(kind: str, data: dict[str, object], payload: bytes = b"") -> bytes:
    """Return a Wyoming event as the wyoming library would write it."""
    body = json.dumps(data, ensure_ascii=False).encode()
    header: dict[str, object] = {"type": kind, "version": "1.10.2", "data_length": len(body)}
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header, ensure_ascii=False).encode() + b"\n" + body + payload


AUDIO = {"rate": 16000, "width": 2, "channels": 1}
BEGIN = event("transcribe", {"language": "en"}) + event("audio-start", {**AUDIO, "timestamp": None})
# Half as loud as can be: what is in it does not matter, that it is not all zeros might.
CHUNK = event("audio-chunk", {**AUDIO, "timestamp": None}, b"\x00\x40" * (16 * CHUNK_MS))


@dataclass
class Measured:
    """What one run has shown."""

    seconds: float = 0.0
    """Of audio, over all streams."""
    turns: int = 0
    latencies: list[float] = field(default_factory=list)
    """Seconds from Flux's frame to the client's socket."""
    lost: int = 0
    """Turns without an answer."""


class Load:
    """Plays *streams* satellites in real time for a while, one utterance after the other."""

    def __init__(self, streams: int, utterance: tuple[float, float] = (2.5, 5.0)) -> None:
        """Prepare; utterances last between the two lengths, in seconds."""
        self.streams = streams
        self.utterance = utterance
        self.measuring = False
        self.measured = Measured()
        self.random = random.Random(1)
        self.sent: dict[int, float] = {}
        self.number = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def listen(self) -> str:
        """Start Flux; return its URL."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Flux(self), "127.0.0.1", 0, backlog=1024)
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def play(self, port: int, warm_up: float, seconds: float) -> None:
        """Connect the satellites to *port* and play; figures count after *warm_up*."""
        self.port = port
        satellites = [Satellite(self) for _ in range(self.streams)]
        slots: list[list[Satellite]] = [[] for _ in range(CHUNK_MS)]
        for i, satellite in enumerate(satellites):
            slots[i % CHUNK_MS].append(satellite)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        tick = 0
        for i, satellite in enumerate(satellites):
            # Not all at once: nobody starts a hundred sentences in the same millisecond.
            loop.call_later(warm_up / 2 * i / self.streams, satellite.begin)
        while (now := loop.time()) < begun + warm_up + seconds:
            if not self.measuring and now >= begun + warm_up:
                self.measuring = True
                self.on_measuring()
            while begun + tick / 1000 <= now:
                for satellite in slots[tick % CHUNK_MS]:
                    satellite.speak()
                tick += 1
            await asyncio.sleep(max(0.0, begun + tick / 1000 - loop.time()))
        self.measuring = False
        self.on_end()
        for satellite in satellites:
            satellite.stop()
        if self._server is not None:
            self._server.close()

    def on_measuring(self) -> None:
        """Take note that figures count from now on."""

    def on_end(self) -> None:
        """Take note that they do no longer."""

    def answered(self, number: int) -> None:
        """An answer has reached a client."""
        began = self.sent.pop(number, None)
        if began is not None and self.measuring:
            self.measured.latencies.append(time.perf_counter() - began)
            self.measured.turns += 1


class Satellite(asyncio.Protocol):
    """One client; like Home Assistant it connects anew for each utterance."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._stopped = False
        self._task: asyncio.Task[object] | None = None
        self._answer = b""

    def begin(self) -> None:
        """Connect."""
        if not self._stopped:
            loop = asyncio.get_running_loop()
            self._answer = b""
            self._task = loop.create_task(
                loop.create_connection(lambda: self, "127.0.0.1", self._load.port)
            )

    def speak(self) -> None:
        """Send one chunk."""
        if self._transport is not None:
            self._transport.write(CHUNK)
            if self._load.measuring:
                self._load.measured.seconds += CHUNK_MS / 1000

    def stop(self) -> None:
        """Be silent for ever."""
        self._stopped = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._stopped:
            transport.abort()
            return
        self._transport = transport
        transport.write(BEGIN)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        found = _ANSWER.search(self._answer)
        if found and self._transport is not None:
            self._load.answered(int(found.group(1)))
            self._transport.close()
        elif b'"error"' in data:
            raise RuntimeError(data.decode())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._load.measuring and not _ANSWER.search(self._answer):
            self._load.measured.lost += 1
        self._transport = None
        self.begin()


class Flux(asyncio.Protocol):
    """One stream: updates while audio comes, then the end of the turn, by the clock."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._open = False
        self._timers: list[asyncio.TimerHandle] = []
        # How many bytes of the frame at hand are still to come; they do not matter.
        self._skip = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._open:
            self._frames(data)
            return
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return
        found = _KEY.search(self._head)
        assert found is not None
        assert self._transport is not None
        accept = base64.b64encode(hashlib.sha1(found.group(1) + _GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._open = True
        self._head = b""
        self._play()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for timer in self._timers:
            timer.cancel()

    def _play(self) -> None:
        load = self._load
        load.number += 1
        number = load.number
        self._send({"type": "Connected", "request_id": "x", "sequence_id": 0})
        length = load.random.uniform(*load.utterance)
        loop = asyncio.get_running_loop()
        at = UPDATE_SECONDS
        while at < length:
            kind = "StartOfTurn" if at == FIRST_TEXT else "Update"
            text = "turn on the living room light"[: int(at / length * 30)] * (at >= FIRST_TEXT)
            self._timers.append(loop.call_later(at, self._turn, kind, at, text))
            at += UPDATE_SECONDS
        self._timers.append(loop.call_later(length, self._end, number, length))

    def _turn(self, kind: str, at: float, text: str) -> None:
        words = [{"word": word, "confidence": 0.98} for word in text.split()]
        self._send(
            {
                "type": "TurnInfo",
                "request_id": "a4e0cbd4-51c3-4c3a-9f2e-0a3f5d1f4f07",
                "sequence_id": 1,
                "event": kind,
                "turn_index": 0,
                "audio_window_start": 0.0,
                "audio_window_end": at,
                "transcript": text,
                "words": words,
                "end_of_turn_confidence": 0.1,
            }
        )

    def _end(self, number: int, length: float) -> None:
        self._load.sent[number] = time.perf_counter()
        self._turn("EndOfTurn", length, f"turn on the living room light bench-{number}-end")

    def _send(self, message: dict[str, object]) -> None:
        data = json.dumps(message).encode()
        if self._transport is not None:
            head = (
                struct.pack("!BB", 0x81, len(data))
                if len(data) < 126
                else (struct.pack("!BBH", 0x81, 126, len(data)))
            )
            self._transport.write(head + data)

    def _frames(self, data: bytes) -> None:
        data = self._head + data
        at = self._skip
        while len(data) - at >= 8:
            length = data[at + 1] & 0x7F
            if data[at] & 0x0F == 8:
                if self._transport is not None:
                    self._transport.write(b"\x88\x02\x03\xe8")
                    self._transport.close()
                return
            size = 6 + length
            if length == 126:
                size = 8 + int.from_bytes(data[at + 2 : at + 4], "big")
            at += size
        # A close frame has at least 8 bytes, and so has all that is sent here.
        self._skip = max(0, at - len(data))
        self._head = data[at:]
