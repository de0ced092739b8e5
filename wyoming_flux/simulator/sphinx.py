"""Real text for real speech: PocketSphinx as a recognizer (extra ``simulator``).

It runs faster than real time on one core, but far too long for an event loop: sessions call it in
a thread. Its model is American English at 16 kHz; other rates are converted.
"""

import itertools
import threading
from typing import Any, Final

import numpy as np

from wyoming_flux.audio import AudioFormat, Converter
from wyoming_flux.errors import InvalidSetting

from .bias import KeytermBias
from .parameters import StreamParameters
from .recognizer import FINISHED, FRAME_MS, is_loud

_MODEL_RATE: Final = 16000
_BATCH_FRAMES: Final = 80 // FRAME_MS
_NOISE: Final = 4
"""Largest sample of the noise that is added: -78 dB."""
_MOST_GUESSES: Final = 60
_SPARE_DECODERS: Final = 2
"""Loading one takes a third of a second: so many are kept for the next connection."""

_lock = threading.Lock()
_spare: list[Any] = []


def require_pocketsphinx() -> None:
    """Load a decoder, so that the first connection need not; blocks for about 0.3 s.

    Raises :class:`InvalidSetting` where PocketSphinx is not installed.
    """
    _give_back(_take())


class PocketSphinxRecognizer:
    """Hears with PocketSphinx; revises its text while more is said."""

    blocking = True
    confidence = FINISHED
    """PocketSphinx cannot tell whether a sentence is complete: a pause ends the turn."""

    def __init__(self, parameters: StreamParameters) -> None:
        """Decoders are taken on the first audio, in the thread that brings it."""
        self._decoder: Any = None
        self._batch = bytearray()
        self._room = _Room()
        self._frames = 0
        self._final: str | None = None
        self._keyterms = parameters.keyterms
        self._bias: KeytermBias | None = None
        rate = parameters.sample_rate
        self._converter = (
            None if rate == _MODEL_RATE else Converter(AudioFormat(rate, 2, 1), _MODEL_RATE)
        )

    @property
    def text(self) -> str:
        """Best hypothesis for all audio of the turn."""
        if self._final is not None:
            return self._final
        self._decode()
        return self._hypothesis()

    def hear(self, frame: bytes) -> bool:
        """Collect frames and decode 80 ms at a time."""
        self._batch += frame if self._converter is None else self._converter.convert(frame)
        self._frames += 1
        if self._frames % _BATCH_FRAMES == 0:
            self._decode()
        return is_loud(frame)

    def end_turn(self) -> None:
        """Begin a new utterance."""
        if self._decoder is not None:
            self._decode()
            self._decoder.end_utt()
            self._decoder.start_utt()

    def finish(self) -> None:
        """Decode the rest; the last pass may still revise the text."""
        if self._converter is not None:
            self._batch += self._converter.flush()
        self._decode()
        if self._decoder is not None:
            self._decoder.end_utt()
            self._final = self._hypothesis()

    def close(self) -> None:
        """Leave the decoder to the next connection."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            if self._final is None:
                decoder.end_utt()
            _give_back(decoder)

    def _decode(self) -> None:
        if not self._batch:
            return
        if self._decoder is None:
            self._decoder = _take()
            self._decoder.start_utt()
            if self._keyterms:
                self._bias = KeytermBias(self._keyterms, self._decoder.lookup_word)
        self._decoder.process_raw(self._room.furnish(bytes(self._batch)))
        self._batch.clear()

    def _hypothesis(self) -> str:
        best = None if self._decoder is None else self._decoder.hyp()
        if best is None:
            return ""
        if self._bias is None:
            return str(best.hypstr)
        others = itertools.islice(self._decoder.nbest() or (), _MOST_GUESSES)
        return self._bias.choose([best.hypstr, *(one.hypstr for one in others if one)])


class _Room:
    """Adds the faint noise that every room has.

    Recordings can be silent to the last bit, and PocketSphinx then hears words in the silence.
    """

    def __init__(self) -> None:
        # The same for each connection, so that the same audio gives the same text.
        self._noise = np.random.default_rng(1)

    def furnish(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, "<i2").astype(np.int32)
        samples += self._noise.integers(-_NOISE, _NOISE, len(samples), endpoint=True)
        return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def _take() -> Any:
    with _lock:
        if _spare:
            return _spare.pop()
    try:
        from pocketsphinx import Decoder
    except ImportError:
        raise InvalidSetting(
            "recognizer",
            "PocketSphinx is not installed: pip install 'wyoming-flux[simulator]'"
            " (it exists for Python 3.11 and 3.13), or use --recognizer script",
        ) from None
    return Decoder(loglevel="FATAL")


def _give_back(decoder: Any) -> None:
    # The means that it learned from one speaker would change what the next connection hears.
    decoder.reinit_feat()
    decoder.set_cmn(decoder.config["cmninit"])
    with _lock:
        if len(_spare) < _SPARE_DECODERS:
            _spare.append(decoder)
