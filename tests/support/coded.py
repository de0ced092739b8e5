"""Audio that carries its own text, so that load tests can tell every stream's words apart.

:func:`speak` writes words into samples, :class:`CodedRecognizer` reads them. It hears a word only
where every sample came through unchanged and in its place: a lost, repeated or shifted chunk shows
in the text.
"""

import struct
from typing import Final

from wyoming_flux.simulator import StreamParameters
from wyoming_flux.simulator.recognizer import FINISHED, UNFINISHED, is_loud

_MARK: Final = struct.pack("<4h", 20000, -20000, 20000, -20000)
_ZERO: Final = 4000
"""Sample that stands for the byte 0; each byte above is 16 louder."""
_FILL: Final = struct.pack("<2h", 3000, -3000)
OPEN_END: Final = "…"
"""At the end of a text: it does not sound complete (and the sign is not heard)."""


def speak(text: str, *, sample_rate: int = 16000, seconds_per_word: float = 0.25) -> bytes:
    """Return linear16 mono of these words without a pause; raises ValueError if one is too long."""
    size = 2 * round(sample_rate * seconds_per_word)
    return b"".join(_spoken(word.encode(), size) for word in text.split())


class CodedRecognizer:
    """Hears what :func:`speak` said."""

    blocking = False

    def __init__(self, parameters: StreamParameters | None = None) -> None:
        """Hear nothing yet; any parameters will do."""
        self._words: list[str] = []
        self._rest = b""

    @property
    def text(self) -> str:
        """All words of the turn."""
        return " ".join(self._words).removesuffix(OPEN_END).rstrip()

    @property
    def confidence(self) -> float:
        """Low after an open end."""
        open_end = bool(self._words) and self._words[-1].endswith(OPEN_END)
        return UNFINISHED if open_end else FINISHED

    def hear(self, frame: bytes) -> bool:
        """Look for words; silence in the middle of one destroys it."""
        if not is_loud(frame):
            self._rest = b""
            return False
        data = self._rest + frame
        while (mark := data.find(_MARK)) >= 0:
            word, after = _read(data, mark + len(_MARK))
            if after is None:
                self._rest = data[mark:]
                return True
            if word:
                self._words.append(word)
            data = data[after:]
        self._rest = data[-len(_MARK) :]
        return True

    def end_turn(self) -> None:
        """Forget the words; half a word that has begun may go on."""
        self._words.clear()

    def finish(self) -> None:
        """Do nothing: half a word is no word."""

    def close(self) -> None:
        """Do nothing."""


def _spoken(word: bytes, size: int) -> bytes:
    if len(word) > 255:
        raise ValueError(f"word too long to be spoken: {word[:20]!r}…")
    payload = bytes([len(word), *word, sum(word) % 256])
    coded = _MARK + struct.pack(f"<{len(payload)}h", *(_ZERO + 16 * byte for byte in payload))
    if len(coded) > size:
        raise ValueError(f"word too long to be spoken in {size // 2} samples: {word!r}")
    return (coded + _FILL * (size // 4 + 1))[:size]


def _read(data: bytes, start: int) -> tuple[str, int | None]:
    """Return the word whose length stands at ``start`` and its end; None: not all is there."""
    if len(data) < start + 2:
        return "", None
    length = _byte(data, start)
    if length is None:
        return "", start
    end = start + 2 + 2 * (length + 1)
    if len(data) < end:
        return "", None
    payload = [_byte(data, at) for at in range(start + 2, end, 2)]
    letters = bytes(byte for byte in payload[:-1] if byte is not None)
    if len(letters) != length or payload[-1] != sum(letters) % 256:
        return "", start
    return letters.decode(errors="replace"), end


def _byte(data: bytes, at: int) -> int | None:
    value, rest = divmod(int.from_bytes(data[at : at + 2], "little", signed=True) - _ZERO, 16)
    return value if rest == 0 and 0 <= value < 256 else None
