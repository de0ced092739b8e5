"""Opens the streams of a plan, one after the other, and records all that comes; decides nothing.

A record is a dictionary: ``step``, ``at`` (seconds since the stream was asked for), ``sent``
(seconds of audio sent on it), ``event`` and what belongs to that. No record holds a token, a host
or an account.
"""

import asyncio
import importlib.resources
import re
import ssl
import wave
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from wyoming_flux.errors import ConnectionLost, EndpointError, FluxTimeout
from wyoming_flux.flux.check import CONNECT_LIMIT
from wyoming_flux.flux.connection import WORKER_HEADER, FluxConnection, open_connection
from wyoming_flux.flux.dial import Dialler
from wyoming_flux.flux.endpoint import Endpoint
from wyoming_flux.flux.refusal import REQUEST_IDS
from wyoming_flux.settings import DEFAULT_SAMPLE_RATE, FluxSettings

from .plan import MOST_SECONDS, Clip, Control, Hush, Say, Step, Wait

Record = dict[str, Any]

_BYTES: Final = 2 * DEFAULT_SAMPLE_RATE
_HEADERS: Final = (WORKER_HEADER, "x-wyoming-flux-model", "server", *REQUEST_IDS)
_PAUSE: Final = 0.3
"""Seconds between two streams, and before one is asked for again."""
_PATIENCE: Final = 5.0
"""Seconds that a stream may take longer than its acts."""


async def probe(
    endpoint: Endpoint,
    steps: Sequence[Step],
    record: Callable[[Record], None],
    *,
    most_seconds: float = MOST_SECONDS,
    ssl_context: ssl.SSLContext | None = None,
) -> float:
    """Run the streams of a plan; return the seconds of audio that were sent.

    *record* gets each record as it comes. No more than *most_seconds* of audio are sent in all:
    streams that would need more are left out. Raises nothing for what the endpoint does.
    """
    clips = await asyncio.to_thread(_clips)
    if endpoint.secure and ssl_context is None:
        ssl_context = await asyncio.to_thread(ssl.create_default_context)
    parts = urlsplit(endpoint.url)
    dialler = Dialler(parts.hostname or "", parts.port or (443 if endpoint.secure else 80))
    hide = _hider(endpoint)
    sent = 0.0
    for step in steps:
        if sent + step.most_seconds > most_seconds:
            record({"step": step.name, "at": 0.0, "sent": 0.0, "event": "left out"})
            continue
        for asked in step.asked:
            stream = _Stream(step, clips, lambda one: record(hide(one)))
            opened = await stream.run(endpoint, asked, dialler, ssl_context)
            sent += stream.sent
            await asyncio.sleep(_PAUSE)
            if opened:
                break
    return sent


class _Stream:
    """One stream: sends what its step says, and records what comes."""

    def __init__(
        self, step: Step, clips: dict[Clip, bytes], record: Callable[[Record], None]
    ) -> None:
        self.sent = 0.0
        self._step = step
        self._clips = clips
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._frame = DEFAULT_SAMPLE_RATE * step.frame_ms // 1000 * 2
        self._rest = b""
        # When the audio that was said or hushed so far ends, as a microphone has it.
        self._due = 0.0
        self._seen: list[str] = []
        self._news = asyncio.Event()
        self._closed = asyncio.Event()

    async def run(
        self,
        endpoint: Endpoint,
        asked: FluxSettings,
        dialler: Dialler,
        ssl_context: ssl.SSLContext | None,
    ) -> bool:
        """Return whether it was opened."""
        parameters = [list(one) for one in endpoint.optional_parameters(asked)]
        self._note("opening", route=endpoint.route.value, asked=parameters)
        url = endpoint.request_url(asked)
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                connection = await open_connection(endpoint, url, dialler, ssl_context=ssl_context)
        except TimeoutError:
            self._refused(FluxTimeout("no answer in time"))
            return False
        except EndpointError as err:
            self._refused(err)
            return False
        headers = {one: connection.headers[one] for one in _HEADERS if one in connection.headers}
        self._note("opened", connect_ms=round(connection.connect_ms, 1), headers=headers)
        hearing = self._loop.create_task(self._hear(connection), name="probe hears")
        try:
            lasts = sum(one.seconds for one in self._step.acts if isinstance(one, Hush | Wait))
            async with asyncio.timeout(lasts + self._step.most_seconds + _PATIENCE):
                await self._act(connection)
        except TimeoutError:
            self._note("overdue")  # it does not take what is sent
        except ConnectionLost:
            await asyncio.wait([hearing], timeout=1.0)  # it has the close on record
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])
            if not self._closed.is_set():
                self._note("done")
            await connection.close()
        return True

    def _refused(self, error: EndpointError) -> None:
        self._note(
            "refused", status=error.status, code=error.code, text=str(error), body=error.body
        )

    def _note(self, event: str, **more: Any) -> None:
        at = round(self._loop.time() - self._began, 4)
        sent = round(self.sent, 4)
        self._record({"step": self._step.name, "at": at, "sent": sent, "event": event, **more})

    async def _hear(self, connection: FluxConnection) -> None:
        try:
            while True:
                frame = await connection.receive_frame()
                text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
                self._note("frame", binary=isinstance(frame, bytes), data=text)
                self._seen.append(text)
                self._news.set()
        except ConnectionLost as err:
            self._note("closed", code=err.close_code, text=str(err))
            self._closed.set()
            self._news.set()

    async def _act(self, connection: FluxConnection) -> None:
        self._due = self._loop.time()
        for act in self._step.acts:
            if self._closed.is_set():
                return
            match act:
                case Say(clip, _):
                    pcm = self._clips[clip][: round(act.length * DEFAULT_SAMPLE_RATE) * 2]
                    await self._play(connection, pcm)
                    spoken = round(self._due - self._began, 4)
                    self._note("said", clip=clip, whole=act.seconds is None, spoken=spoken)
                case Hush(seconds, until):
                    seen = len(self._seen)
                    for _ in range(round(seconds * 1000 / self._step.frame_ms)):
                        if self._closed.is_set() or (until and self._has(until, seen)):
                            break
                        await self._play(connection, bytes(self._frame))
                case Control(data, _):
                    self._note("control", data=data)
                    await connection.send_control(data)
                case Wait(seconds, until):
                    self._note("waits", seconds=seconds)
                    await self._wait(seconds, until)
                    self._due = self._loop.time()

    async def _play(self, connection: FluxConnection, pcm: bytes) -> None:
        """Send audio, each whole frame when its last sample has been spoken."""
        began = self._due - len(self._rest) / _BYTES
        self._due += len(pcm) / _BYTES
        pcm = self._rest + pcm
        whole = len(pcm) // self._frame * self._frame
        for at in range(0, whole, self._frame):
            await asyncio.sleep(began + (at + self._frame) / _BYTES - self._loop.time())
            if self._closed.is_set():
                return
            self.sent += self._frame / _BYTES
            await connection.send_audio(pcm[at : at + self._frame])
        self._rest = pcm[whole:]

    async def _wait(self, seconds: float, until: str) -> None:
        seen = 0 if until else len(self._seen)
        try:
            async with asyncio.timeout(seconds):
                while not self._closed.is_set() and not (until and self._has(until, seen)):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass

    def _has(self, what: str, since: int) -> bool:
        """Whether a message came of this event or type; some builds have no type."""
        word = '"event"' if what == "TurnInfo" else f'"{what}"'
        return any(word in text for text in self._seen[since:])


def _clips() -> dict[Clip, bytes]:
    files: dict[Clip, str] = {"sentence": "flux/check.wav", "name": "flux/probe/name.wav"}
    clips: dict[Clip, bytes] = {}
    for clip, name in files.items():
        with (
            importlib.resources.files("wyoming_flux").joinpath(name).open("rb") as file,
            wave.open(file) as recording,
        ):
            clips[clip] = recording.readframes(recording.getnframes())
    return clips


def _hider(endpoint: Endpoint) -> Callable[[Record], Record]:
    """Return what takes token, host and account out of a record."""
    parts = urlsplit(endpoint.url)
    host = parts.hostname or ""
    # The account is in the host of a Worker, and in the path of Workers AI and AI Gateway.
    names = {endpoint.host, host, *(one for one in parts.path.split("/") if len(one) > 5)}
    if host.endswith(".workers.dev"):
        names.add(host.split(".")[-3])
    private = sorted(names - {"client", "accounts", "deepgram", "listen", "workers-ai"}, key=len)

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            value = endpoint.hide(value)
            for one in reversed(private):
                value = re.sub(rf"(?<![\w-]){re.escape(one)}(?![\w-])", "***", value)
            # The id of an account at Cloudflare, wherever it is from.
            return re.sub(r"\b[0-9a-f]{32}\b", "***", value)
        if isinstance(value, list):
            return [hide(one) for one in value]
        if isinstance(value, dict):
            return {name: hide(one) for name, one in value.items()}
        return value

    def hide_all(record: Record) -> Record:
        return {name: value if name == "step" else hide(value) for name, value in record.items()}

    return hide_all
