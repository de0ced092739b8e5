"""Many clients that send small events as fast as they are read: a process for its own core.

``python -m tests.e2e.reliability.flood PORT CLIENTS SECONDS [again] EVENT…``: each client writes
the events, in turn and without end, until it is told an error or the time is over; with ``again``
in front of them it then connects anew. Prints ``ready`` once all are connected, and at the end, as
JSON, the bytes sent and how many connections were told which error.
"""

import contextlib
import json
import socket
import sys
import threading
import time
from collections import Counter
from typing import Final

from wyoming.event import Event

from wyoming_flux.server.events import encode

BLOCK: Final = 64 * 1024
FORMAT: Final = {"rate": 16000, "width": 2, "channels": 1}
EVENTS: Final = {
    "audio-start": Event("audio-start", FORMAT),
    "audio-stop": Event("audio-stop"),
    "audio-chunk": Event("audio-chunk", FORMAT, bytes(2)),
    "transcribe": Event("transcribe"),
    "describe": Event("describe"),
    "unknown": Event("unknown"),
}


class Flood:
    """What all clients share."""

    def __init__(
        self, port: int, clients: int, seconds: float, data: bytes, *, stubborn: bool
    ) -> None:
        self._address = ("127.0.0.1", port)
        self._seconds = seconds
        self._stubborn = stubborn
        self._data = data
        self._start = threading.Barrier(clients + 1)
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        self.sent = 0
        self.told: Counter[str] = Counter()

    def play(self) -> None:
        """Connect, say so, send, and wait for the end of all."""
        for thread in self._threads:
            thread.start()
        self._start.wait()
        print("ready", flush=True)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        sock = socket.create_connection(self._address, timeout=30)
        self._start.wait()
        end = time.monotonic() + self._seconds
        self._send(sock, end)
        while self._stubborn and time.monotonic() < end:
            try:
                self._send(socket.create_connection(self._address, timeout=30), end)
            except OSError:
                return  # the server was stopped

    def _send(self, sock: socket.socket, end: float) -> None:
        heard = b""
        with sock:
            sock.settimeout(0.1)
            try:
                while time.monotonic() < end and b'"code"' not in heard:
                    with contextlib.suppress(TimeoutError):
                        self.sent += sock.send(self._data)
                    heard = _read(sock, heard)
            except OSError:
                pass  # closed while sending, which is what should happen
            heard = _read(sock, heard)
        code = heard.partition(b'"code": "')[2].partition(b'"')[0].decode()
        self.told[code or "nothing"] += 1


def _read(sock: socket.socket, heard: bytes) -> bytes:
    """Return the end of what was heard, with what has come since; waits for nothing."""
    try:
        while more := sock.recv(BLOCK, socket.MSG_DONTWAIT):
            heard = (heard + more)[-4096:]
    except OSError:
        pass  # nothing more yet, or for ever
    return heard


def main() -> None:
    """Flood, and say what came of it."""
    port, clients, seconds, *names = sys.argv[1:]
    stubborn = names[0] == "again"
    events = b"".join(encode(EVENTS[name]) for name in names[stubborn:])
    data = events * (BLOCK // len(events))
    flood = Flood(int(port), int(clients), float(seconds), data, stubborn=stubborn)
    flood.play()
    print(json.dumps({"bytes": flood.sent, "told": flood.told}), flush=True)


if __name__ == "__main__":
    main()
