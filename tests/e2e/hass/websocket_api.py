"""The websocket API of a running Home Assistant."""

import asyncio
import json
import time
from typing import Any

import aiohttp


class DriverError(Exception):
    """Home Assistant did not do what was asked of it."""


class Socket:
    """The websocket API of a running Home Assistant."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Take an authenticated connection."""
        self._socket = socket
        self._number = 0
        self._results: dict[int, asyncio.Future[Any]] = {}
        self._events: dict[int, asyncio.Queue[tuple[float, dict[str, Any]]]] = {}
        self._reader = asyncio.create_task(self._read(), name="websocket API")

    async def close(self) -> None:
        """Disconnect."""
        await self._socket.close()
        await self._reader

    async def command(self, kind: str, **fields: Any) -> Any:
        """Send a command; returns its result."""
        self._number += 1
        number = self._number
        self._events[number] = asyncio.Queue()
        self._results[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "type": kind, **fields})
        async with asyncio.timeout(30):
            return await self._results[number]

    async def subscribe(
        self, kind: str, **fields: Any
    ) -> asyncio.Queue[tuple[float, dict[str, Any]]]:
        """Send a command that reports events; returns where they come, with their times."""
        await self.command(kind, **fields)
        return self._events[self._number]

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message: audio."""
        await self._socket.send_bytes(data)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            now = time.monotonic()
            payload = json.loads(message.data)
            for item in payload if isinstance(payload, list) else [payload]:
                if item["type"] == "event":
                    self._events[item["id"]].put_nowait((now, item["event"]))
                elif (result := self._results.pop(item["id"], None)) is not None:
                    if item.get("success", True):
                        result.set_result(item.get("result"))
                    else:
                        result.set_exception(DriverError(str(item["error"])))
