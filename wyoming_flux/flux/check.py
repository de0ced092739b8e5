"""Is it Flux that answers, does it take what is asked for, and does it hear? For all front ends.

The limits are those of an utterance, so that what is called good here works there, too.
"""

import asyncio
import importlib.resources
import wave
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.errors import FluxTimeout, NotFlux, Refused
from wyoming_flux.settings import FluxSettings

from .connection import FluxConnection
from .connector import Connector
from .messages import FluxFault, FluxWarning, Garbage, Message, Other, TurnEvent, TurnInfo

CONNECT_LIMIT: Final = 8.0
"""Seconds that an utterance waits for a stream, whatever it tries (its budget for one fault)."""
FIRST_MESSAGE_LIMIT: Final = 4.0
"""Seconds that an utterance waits for Flux's first message once audio was sent."""

SENTENCE: Final = "close the garage door"
"""What is said in ``check.wav``, which begins and ends with speech (made from ``samples/``)."""

SILENCE: Final = 0.5
"""Seconds of silence that a check sends before it waits for a message."""
_FRAME: Final = 0.08
_KINDS: Final = {"keyterm": "key terms", "tag": "tags", "language_hint": "language hints"}
_MOST_PATIENCE: Final = 8.0
"""Seconds after the last word in which a turn must have ended, if ``eot_timeout_ms`` is longer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check has seen; times in milliseconds."""

    connect_ms: float
    first: str
    """Flux's first message, in a word or two."""
    accepted: tuple[str, ...]
    """Names of the optional parameters that were asked for and taken."""
    refused: tuple[str, ...]
    """Names of those without which it works."""
    ignored: bool
    """Whether it is a Worker that ignores all parameters."""
    request_id: str | None = None
    heard: str | None = None
    """What Flux heard of :data:`SENTENCE`; None: it was not said."""
    after_ms: float | None = None
    """From the last word to the end of the turn; None: Flux saw no end."""

    def __str__(self) -> str:
        """Say it in one sentence. It claims that parameters were accepted, not their effect."""
        if self.heard is None:
            said = f"Flux answers ({self.first})"
        elif self.after_ms is None:
            said = f"Flux heard {self.heard!r}, but did not say that the turn is over"
        else:
            said = f"Flux heard {self.heard!r} {self.after_ms / 1000:.2f} s after the last word"
        if self.ignored:
            return f"{said}; this Worker ignores key terms and thresholds"
        kinds = dict.fromkeys(_kind(name) for name in self.accepted)
        for name in self.refused:
            kinds.pop(_kind(name), None)
        if kinds:
            *most, last = kinds
            said += f"; {', '.join(most)}{' and ' if most else ''}{last} were accepted"
        if self.refused:
            said += f"; refused, and left out: {', '.join(self.refused)}"
        return said


async def check_flux(
    connector: Connector,
    settings: FluxSettings,
    *,
    speak: bool = False,
    on_open: Callable[[FluxConnection], None] | None = None,
) -> Verdict:
    """Open a stream, send half a second of silence, wait for a message; ``speak``: then a sentence.

    ``on_open`` gets the open connection, to tell of it before anything else can fail. Takes at
    most 12 s, with the sentence some 10 s more. Raises :class:`FluxTimeout` where Flux says or
    hears nothing, and what :meth:`Connector.connect` and :func:`first_message` raise.
    """
    connection = await connector.connect(settings, timeout=CONNECT_LIMIT)
    try:
        if on_open is not None:
            on_open(connection)
        first = await first_message(connection, settings)
        heard, after_ms = await _say(connection, settings) if speak else (None, None)
    finally:
        await connection.close()
    asked = dict.fromkeys(name for name, _ in connector.endpoint.optional_parameters(settings))
    return Verdict(
        connect_ms=connection.connect_ms,
        first=_described(first),
        accepted=tuple(name for name in asked if name not in connection.dropped),
        refused=connection.dropped,
        ignored=bool(connector.plain),
        request_id=connection.request_id,
        heard=heard,
        after_ms=after_ms,
    )


async def first_message(connection: FluxConnection, settings: FluxSettings) -> Message:
    """Send half a second of silence on a new connection and return what Flux says first.

    Silence, because some deployments say nothing before audio has come. Raises
    :class:`FluxTimeout` where nothing comes in time, :class:`NotFlux` for what is no message of
    Flux, :class:`Refused` for Flux's own ``Error``, and :class:`ConnectionLost`.
    """
    frame = bytes(2 * int(settings.sample_rate * SILENCE / 5))
    try:
        async with asyncio.timeout(FIRST_MESSAGE_LIMIT):
            for _ in range(5):
                await connection.send_audio(frame)
            return _checked(await connection.receive(), connection)
    except TimeoutError:
        raise FluxTimeout(
            f"{connection.host} takes audio, but said nothing for {FIRST_MESSAGE_LIMIT:g} s:"
            " is this Flux?",
            request_id=connection.request_id,
        ) from None


def _checked(message: Message, connection: FluxConnection) -> Message:
    match message:
        case Garbage():
            raise NotFlux(
                f"{connection.host} talks, but not as Flux does", request_id=connection.request_id
            )
        case FluxFault(code=code, description=description):
            raise Refused(
                f"Flux refused: {description or code}",
                upstream_code=code or None,
                request_id=connection.request_id,
            )
        case _:
            return message


async def _say(connection: FluxConnection, settings: FluxSettings) -> tuple[str, float | None]:
    """Say the sentence in real time; return what was heard, and ms from its end to the turn's."""
    loop = asyncio.get_running_loop()
    speech = await asyncio.to_thread(_speech, settings.sample_rate)
    ended = loop.time() + len(speech) / 2 / settings.sample_rate
    patience = min(settings.effective_eot_timeout_ms / 1000, _MOST_PATIENCE) + FIRST_MESSAGE_LIMIT
    texts: dict[int, str] = {}
    speaker = loop.create_task(_speak(connection, speech, settings.sample_rate))
    try:
        async with asyncio.timeout_at(ended + patience):
            while True:
                message = _checked(await connection.receive(), connection)
                if not isinstance(message, TurnInfo):
                    continue
                if message.transcript:
                    texts[message.turn_index] = message.transcript
                # Where it ends a turn in the middle of the sentence, there is one more to come.
                if message.event is TurnEvent.END_OF_TURN and texts and loop.time() >= ended:
                    return _joined(texts), (loop.time() - ended) * 1000
    except TimeoutError:
        if texts:
            return _joined(texts), None
        raise FluxTimeout(
            f"{connection.host} takes audio and talks, but heard nothing of {SENTENCE!r}",
            request_id=connection.request_id,
        ) from None
    finally:
        speaker.cancel()
        await asyncio.wait([speaker])


async def _speak(connection: FluxConnection, speech: bytes, sample_rate: int) -> None:
    """Send the speech as a microphone does, each frame when it has been spoken; then silence."""
    loop = asyncio.get_running_loop()
    size = 2 * int(sample_rate * _FRAME)
    started, sent = loop.time(), 0
    while True:
        frame = speech[sent : sent + size] or bytes(size)
        sent += len(frame)
        await asyncio.sleep(started + sent / 2 / sample_rate - loop.time())
        await connection.send_audio(frame)


def _speech(sample_rate: int) -> bytes:
    """Return the sentence as linear16 at ``sample_rate`` Hz; reads a file, so not for the loop."""
    with (
        importlib.resources.files(__package__).joinpath("check.wav").open("rb") as file,
        wave.open(file) as recording,
    ):
        source = AudioFormat(recording.getframerate(), recording.getsampwidth(), 1)
        converter = Converter(source, sample_rate)
        return converter.convert(recording.readframes(recording.getnframes())) + converter.flush()


def _joined(texts: dict[int, str]) -> str:
    return " ".join(text for _, text in sorted(texts.items()))


def _described(message: Message) -> str:
    match message:
        case TurnInfo():
            return f"TurnInfo {message.event}"
        case FluxWarning(code, description):
            return f"Warning {code}: {description}"
        case Other(kind):
            return kind
        case _:
            return type(message).__name__


def _kind(parameter: str) -> str:
    return _KINDS.get(parameter, "thresholds")
