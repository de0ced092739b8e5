"""One open stream of a foreign Flux: what it hears, says and does, on audio time."""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from .coded_audio import RATE, Ear, Word
from .foreign_behaviour import Stream

_QUANTUM: Final = RATE // 50
_SLOT: Final = RATE // 4
"""Samples from Update to Update."""


class _Dropped(Exception):
    """The stream ends here."""


class Session:
    """One open stream."""

    def __init__(self, socket: ServerConnection, stream: Stream, news: asyncio.Event) -> None:
        self._socket = socket
        self._told_all = news
        self._stream = stream
        self._does = stream.behaviour
        self._waiting = bytearray()
        self._news = asyncio.Event()
        self._flush = False
        self._ear = Ear()
        self._free_at = 0.0
        self._next_slot = _SLOT
        self._request_id = str(uuid.uuid4())
        self._sequence = 0
        self._turn = 0
        self._words: list[Word] = []
        """Of the open turn, heard, perhaps not to be told yet."""
        self._started = False
        self._turn_start = 0
        self._empty_at = 0
        self._shown = 0
        """Messages that had the second word, for revisions."""
        self._strayed = False
        timeout = stream.query.get("eot_timeout_ms", ["5000"])[0]
        self._timeout = round(float(timeout) * RATE / 1000)

    async def run(self) -> None:
        """Serve the stream to its end."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._work())]
        if self._does.drop_after_time is not None:
            tasks.append(asyncio.create_task(self._drop_in_time(self._does.drop_after_time)))
        if self._does.talks_on or self._does.talk not in ("turns", "nothing"):
            tasks.append(asyncio.create_task(self._chatter()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._stream.closed = time.monotonic()
        for result in results:
            if isinstance(result, _Dropped):
                self._socket.transport.abort()
            elif isinstance(result, Exception) and not isinstance(result, ConnectionClosed):
                raise result

    async def _listen(self) -> None:
        async for frame in self._socket:
            if isinstance(frame, str):
                if not await self._control(frame):
                    return
                continue
            if not frame or len(frame) % 2:
                self._stream.wrong.append(f"a frame of {len(frame)} bytes")
            self._stream.frames += 1
            self._stream.samples += len(frame) // 2
            self._waiting += frame
            self._news.set()
            self._told_all.set()
        self._stream.ended_by = self._stream.ended_by or "client"

    async def _control(self, frame: str) -> bool:
        """Obey a text frame; tell whether the stream goes on being read."""
        try:
            kind = str(json.loads(frame)["type"])
        except (ValueError, KeyError, TypeError):
            kind = frame[:80]
        self._stream.controls.append(kind)
        if self._does.on_control == "1011":
            await self._close(1011, f"1011 after {kind}")
            return False
        if kind not in self._does.controls:
            description = f"unknown variant `{kind}`"
            await self._send(
                {"type": "Error", "code": "UNPARSABLE_CLIENT_MESSAGE", "description": description}
            )
            await self._close(None, f"Error after {kind}")
            return False
        if kind == "CloseStream":
            if self._does.on_control == "unflushed":
                await self._close(None, "close without flushing")
                return False
            self._flush = True
            self._news.set()
        elif kind == "ForceEndTurn":
            if self._told():
                await self._end_turn("manual", self._told())
            else:
                code = "FORCE_END_TURN_NO_ACTIVE_TURN"
                await self._send({"type": "Warning", "code": code, "description": "no turn"})
        elif kind == "Configure":
            await self._send({"type": "ConfigureSuccess", "thresholds": {}, "keyterms": []})
        return True

    async def _work(self) -> None:
        if self._does.talk == "nothing":
            await asyncio.get_running_loop().create_future()
        await self._send({"type": "Connected"})
        while True:
            held = 0 if self._flush else 2 * round(self._does.behind * RATE)
            if len(self._waiting) - held < 2 * _QUANTUM and not self._flush:
                self._news.clear()
                await self._news.wait()
                continue
            if not self._waiting:
                break
            quantum = bytes(self._waiting[: 2 * _QUANTUM])
            del self._waiting[: 2 * _QUANTUM]
            await self._pace(len(quantum) // 2)
            self._words += self._ear.feed(quantum)
            await self._heard()
        # CloseStream: what was received is decoded and told, and no turn is ended.
        self._words += self._ear.finish()
        if self._words:
            await self._turn_info(self._does.event, self._words)
        await self._close(None, "CloseStream")

    async def _pace(self, samples: int) -> None:
        if not self._does.ingest:
            await asyncio.sleep(0)
            return
        now = time.monotonic()
        # A machine that wakes us late does not make Flux slow: up to half a second is made up for.
        self._free_at = max(self._free_at, now - 0.5) + samples / RATE / self._does.ingest
        if self._free_at > now + 0.03:
            await asyncio.sleep(self._free_at - now)

    async def _heard(self) -> None:
        """Say what is due at the present place in the audio."""
        does, at = self._does, self._ear.position
        if does.drop_after is not None and at >= does.drop_after * RATE:
            self._stream.ended_by = "drop"
            raise _Dropped
        if self._is_mute(at):
            return
        if does.stray_end and at >= RATE and not self._strayed:
            self._strayed = True
            await self._turn_info("EndOfTurn", [Word("stray", 0, 1)], turn=99)
        quiet = at - self._ear.voiced_until
        if self._words and not does.never_final:
            unfinished = self._words[-1].text in does.open_words
            needed = self._timeout if unfinished else round(does.end_of_turn * RATE)
            if quiet >= needed:
                await self._end_turn("timeout" if unfinished else "model", self._words)
                return
        every = does.empty_ends_every
        if every is not None and not self._words and at - self._empty_at >= every * RATE:
            self._empty_at = at
            await self._turn_info("EndOfTurn", [])
            self._turn += 1
            return
        if at >= self._next_slot:
            self._next_slot = at - at % _SLOT + _SLOT
            await self._update()

    def _is_mute(self, at: int) -> bool:
        if self._does.mute is None:
            return False
        begin, end = self._does.mute
        return begin * RATE <= at < end * RATE

    def _told(self) -> list[Word]:
        """Return the words of the open turn that a message may have by now."""
        due = self._ear.position - self._does.text_delay * RATE
        told = [word for word in self._words if word.end <= due]
        return told[:-1] if self._does.late_end else told

    async def _update(self) -> None:
        words = self._told()
        event = self._does.event
        if words and not self._started:
            self._started = True
            event = "StartOfTurn" if event == "Update" else event
        await self._turn_info(event, words)

    async def _end_turn(self, trigger: str, words: list[Word]) -> None:
        ended = self._turn
        if self._does.late_end:
            await self._turn_info(self._does.event, [], turn=ended + 1)
        told = [] if self._does.empty_final else words
        await self._turn_info("EndOfTurn", told, turn=ended, trigger=trigger)
        self._turn += 1
        self._words = self._words[len(words) :]
        self._started = False
        self._shown = 0
        self._turn_start = self._empty_at = self._ear.position

    async def _turn_info(
        self, event: str, words: Sequence[Word], *, turn: int | None = None, trigger: str = ""
    ) -> None:
        if self._does.talk != "turns":
            return
        texts = [word.text for word in words]
        if self._does.revise and len(texts) > 1 and event != "EndOfTurn":
            self._shown += 1
            if self._shown <= 2:
                texts[1] = "uhm"
        text = " ".join(texts).capitalize() + ("." if texts and event == "EndOfTurn" else "")
        if self._does.surrogate and text:
            text = "\ud83d" if self._does.surrogate == "alone" else f"\ud83d {text}"
        said: dict[str, Any] = {
            "type": "TurnInfo",
            "event": event,
            "turn_index": self._turn if turn is None else turn,
            "transcript": text,
            "words": [self._word(word, text) for word, text in zip(words, texts, strict=True)],
            "end_of_turn_confidence": 0.8 if event == "EndOfTurn" else 0.02,
        }
        if trigger and self._does.word_times:
            said["trigger"] = trigger
        if self._does.window != "missing":
            window = self._ear.position / RATE - self._does.window_lag
            if self._does.window == "creep":
                window = (time.monotonic() - self._stream.opened) / 1000
            said["audio_window_start"] = round(self._turn_start / RATE, 3)
            said["audio_window_end"] = round(max(0.0, window), 3)
        await self._send(said)

    def _word(self, word: Word, text: str) -> dict[str, Any]:
        told: dict[str, Any] = {"word": text, "confidence": 0.9}
        if self._does.word_times:
            told |= {"start": round(word.start / RATE, 3), "end": round(word.end / RATE, 3)}
        return told

    async def _send(self, message: dict[str, Any]) -> None:
        message |= {"request_id": self._request_id, "sequence_id": self._sequence}
        self._sequence += 1
        self._stream.messages.append((time.monotonic(), message))
        await self._socket.send(json.dumps(message))
        self._told_all.set()

    async def _close(self, code: int | None, why: str) -> None:
        self._stream.ended_by = why
        await self._socket.close(code)  # type: ignore[arg-type]  # None: a frame without a code

    async def _drop_in_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._stream.ended_by = "drop"
        raise _Dropped

    async def _chatter(self) -> None:
        """Say something without being asked, in time instead of audio."""
        nothing = {"transcript": "", "words": [], "audio_window_end": 0.0}
        said: dict[str, dict[str, Any]] = {
            "heartbeats": {"type": "Heartbeat"},
            "warnings": {"type": "Warning", "code": "SLOW", "description": "busy"},
            "no-event": {"type": "TurnInfo", "turn_index": 0, **nothing},
            "no-turn-index": {"type": "TurnInfo", "event": "Update", **nothing},
        }
        while True:
            await asyncio.sleep(0.25 if self._does.talks_on else 0.5)
            if self._does.talks_on:
                await self._update()
            else:
                await self._send(dict(said[self._does.talk]))
