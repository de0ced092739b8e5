"""Moonshine, by ctypes.

Only the ear's own process loads it (:mod:`.process`). Moonshine's wrapper would bring requests,
tqdm and three more; four functions of its C interface are all that is needed. The structures are
those of ``moonshine-c-api.h`` 3.0.0.
"""

import ctypes
import os
from array import array
from pathlib import Path
from typing import Final, Protocol

from .model import Model, moonshine_folder
from .turns import CHUNK_SAMPLES, RATE

_HEADER_VERSION: Final = 30000
_SILENCE: Final = array("f", bytes(4 * RATE // 2))
# The whole piece at once: the turns are ours.
_OPTIONS: Final = {
    "vad_threshold": "0",
    "vad_max_segment_duration": "0",
    "return_audio_data": "false",
}


class Recogniser(Protocol):
    """Turns speech into text; used by one thread at a time."""

    def decode(self, pcm: bytes) -> str:
        """Return the text of linear16 mono at 16 kHz. Raises ``OSError`` where that fails."""


class _Option(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_char_p)]  # type: ignore[mutable-override]  # ctypes own way


class _Line(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("others", ctypes.c_byte * 80)]  # type: ignore[mutable-override]  # ctypes own way


class _Transcript(ctypes.Structure):
    _fields_ = [("lines", ctypes.POINTER(_Line)), ("count", ctypes.c_uint64)]  # type: ignore[mutable-override]  # ctypes own way


class Moonshine:
    """A loaded model. Not for several threads: its result is overwritten by the next decoding."""

    def __init__(self, model: Model) -> None:
        """Load *model*, some 0.5 s, and try it. Raises ``OSError``."""
        # Halves the CPU at the length of commands, at no loss of time; read by the library at load.
        os.environ["MOONSHINE_ORT_SINGLE_THREAD"] = "1"
        self._library = ctypes.CDLL(str(_library_file()))
        load = self._library.moonshine_load_transcriber_from_files
        load.argtypes = (
            ctypes.c_char_p,
            ctypes.c_uint32,
            ctypes.POINTER(_Option),
            ctypes.c_uint64,
            ctypes.c_int32,
        )
        load.restype = ctypes.c_int32
        self._transcribe = self._library.moonshine_transcribe_without_streaming
        self._transcribe.argtypes = (
            ctypes.c_int32,
            ctypes.POINTER(ctypes.c_float),
            ctypes.c_uint64,
            ctypes.c_int32,
            ctypes.c_uint32,
            ctypes.POINTER(ctypes.POINTER(_Transcript)),
        )
        self._transcribe.restype = ctypes.c_int32
        options = (_Option * len(_OPTIONS))(
            *(_Option(name.encode(), value.encode()) for name, value in _OPTIONS.items())
        )
        path = os.fsencode(model.path)
        self._handle = load(path, model.number, options, len(options), _HEADER_VERSION)
        if self._handle < 0:
            raise OSError(
                f"the model in {model.path} cannot be loaded ({self._error(self._handle)})"
            )
        try:
            # A model under a wrong kind loads, and fails here.
            self.decode(bytes(2 * RATE))
        except OSError as error:
            raise OSError(
                f"the model in {model.path} does not work as {model.kind}: {error}"
            ) from None

    def decode(self, pcm: bytes) -> str:
        """Return the text of linear16 mono at 16 kHz. Raises ``OSError``."""
        samples = array("f", [sample / 32768 for sample in array("h", pcm)])
        samples += _SILENCE
        samples.extend([0.0] * (-len(samples) % CHUNK_SAMPLES))
        buffer = (ctypes.c_float * len(samples)).from_buffer(samples)
        result = ctypes.POINTER(_Transcript)()
        status = self._transcribe(self._handle, buffer, len(samples), RATE, 0, ctypes.byref(result))
        if status < 0:  # null is told by the status
            raise OSError(f"Moonshine could not decode ({self._error(status)})")
        transcript = result.contents
        texts = (transcript.lines[at].text or b"" for at in range(transcript.count))
        return " ".join(text.decode("utf-8", "replace") for text in texts)

    def _error(self, number: int) -> str:
        describe = self._library.moonshine_error_to_string
        describe.argtypes, describe.restype = (ctypes.c_int32,), ctypes.c_char_p
        said: bytes | None = describe(number)
        return said.decode("utf-8", "replace") if said else f"error {number}"


def _library_file() -> Path:
    return moonshine_folder() / "libmoonshine.so"
