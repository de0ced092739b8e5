"""What leaves the simulator: messages in their order, late or spoiled where a fault says so."""

import asyncio
import json
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

from .faults import (
    ConnectedLate,
    DuplicateEndOfTurn,
    EmptyEndOfTurn,
    Fault,
    Jitter,
    LateEndOfTurn,
)
from .stream import Message
from .transport import Frame, Transport, TransportClosed

T = TypeVar("T", bound=Fault)


class Outbox:
    """Sends in order from a task of its own, so that late messages do not stop the audio."""

    def __init__(self, transport: Transport, faults: Sequence[Fault]) -> None:
        """Look for the faults that concern messages."""
        self._transport = transport
        self._queue: asyncio.Queue[tuple[Frame, float]] = asyncio.Queue()
        self._held: Message | None = None
        self._duplicate = _first(DuplicateEndOfTurn, faults) is not None
        self._empty = _first(EmptyEndOfTurn, faults) is not None
        self._late = _first(LateEndOfTurn, faults) is not None
        self._jitter = _first(Jitter, faults)
        self._random = random.Random(  # noqa: S311 - reproducible delays, no secret
            self._jitter.seed if self._jitter else 0
        )
        self._connected_late = _first(ConnectedLate, faults)
        self._audio_came = asyncio.Event()

    def audio_came(self) -> None:
        """Tell that audio was consumed: a ``Connected`` that waits for it may go."""
        self._audio_came.set()

    def put(self, messages: Iterable[Message]) -> None:
        """Send these after all before."""
        for message in messages:
            if message.get("event") != "EndOfTurn":
                self._put(message)
                self._release()
                continue
            if self._empty:
                message = {**message, "transcript": "", "words": []}
            if self._late:
                self._held = message
            else:
                self._put(message)
                if self._duplicate:
                    self._put(message)

    def put_frame(self, frame: Frame) -> None:
        """Send something that is no message."""
        self._queue.put_nowait((frame, self._delay()))

    async def flush(self) -> None:
        """Wait until all is sent, or nothing can be sent any more."""
        self._release()
        self._audio_came.set()
        await self._queue.join()

    async def run(self) -> None:
        """Send until cancelled; frames for a closed connection are dropped."""
        if (late := self._connected_late) is not None:
            if late.after_audio:
                await self._audio_came.wait()
            await asyncio.sleep(late.seconds)
        while True:
            frame, delay = await self._queue.get()
            try:
                if delay:
                    await asyncio.sleep(delay)
                await self._transport.send(frame)
            except TransportClosed:
                pass  # the reading side ends the session
            finally:
                self._queue.task_done()

    def _release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._put(held)

    def _put(self, message: Message) -> None:
        self.put_frame(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    def _delay(self) -> float:
        return self._random.uniform(0, self._jitter.seconds) if self._jitter else 0.0


def _first(kind: type[T], faults: Sequence[Fault]) -> T | None:
    return next((one for one in faults if isinstance(one, kind)), None)
