"""What clients ask for: the fields of the events we act on, checked and typed."""

from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from wyoming.event import Event

from wyoming_flux.audio import AudioFormat
from wyoming_flux.errors import InvalidEvent
from wyoming_flux.settings import Sensitivity

_SHOWN: Final = 40
"""Characters of a client's own value that are repeated in an error."""


@dataclass(frozen=True, slots=True)
class TranscribeRequest:
    """A ``transcribe`` event; None and () where the client left a field out."""

    name: str | None = None
    """Model the client would like."""
    language: str | None = None
    """Language tag, such as ``en`` or ``en-US``."""
    sensitivity: Sensitivity | None = None
    """How soon the end of speech is believed (``vad_sensitivity``)."""
    names: tuple[str, ...] = ()
    """Names to expect (``transcript_names``); they rank above the terms."""
    terms: tuple[str, ...] = ()
    """Other words to expect (``transcript_terms``)."""


def read_transcribe(event: Event) -> TranscribeRequest:
    """Return what a ``transcribe`` event asks for.

    Fields are those of ``wyoming.asr.Transcribe`` 1.10.2; ``context`` and unknown ones are ignored.
    Raises :class:`InvalidEvent`, naming the field.
    """
    data = event.data
    return TranscribeRequest(
        name=read_text(data, "name"),
        language=read_text(data, "language"),
        sensitivity=_read_sensitivity(data),
        names=_read_texts(data, "transcript_names"),
        terms=_read_texts(data, "transcript_terms"),
    )


def read_format(event: Event) -> AudioFormat:
    """Return the format that an ``audio-start`` or ``audio-chunk`` announces.

    Raises :class:`InvalidEvent` where a field is missing or no whole number, and
    :class:`~wyoming_flux.errors.InvalidAudio` where the format is not supported.
    """
    rate, width, channels = (_read_number(event, name) for name in ("rate", "width", "channels"))
    return AudioFormat(rate, width, channels)


def read_text(data: dict[str, Any], name: str) -> str | None:
    """Return the text field *name*, None where it is missing, null or empty.

    Raises :class:`InvalidEvent` for any other type.
    """
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidEvent(f"{name} must be a text, not {_show(value)}.")
    return value or None


def _read_number(event: Event, name: str) -> int:
    value = event.data.get(name)
    # bool is an int: true would be taken for 1.
    if type(value) is not int:
        raise InvalidEvent(f"{event.type} needs {name} as a whole number, not {_show(value)}.")
    return value


def _read_sensitivity(data: dict[str, Any]) -> Sensitivity | None:
    value = data.get("vad_sensitivity")
    if value is None:
        return None
    allowed = get_args(Sensitivity)
    if not isinstance(value, str) or value not in allowed:
        raise InvalidEvent(
            f"vad_sensitivity must be one of {', '.join(allowed)}, not {_show(value)}."
        )
    return cast("Sensitivity", value)


def _read_texts(data: dict[str, Any], name: str) -> tuple[str, ...]:
    value = data.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidEvent(f"{name} must be a list of texts.")
    return tuple(value)


def _show(value: object) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, str):
        return repr(value[:_SHOWN])
    # Numbers may have thousands of digits, which Python refuses to print.
    if isinstance(value, int) and abs(value) >= 10**12:
        return "a huge number"
    return "nothing" if value is None else str(value)
