"""What the simulator hears: the protocol of a recognizer, and one that follows a script."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

FRAME_MS: Final = 10
"""Milliseconds of audio in one frame; all decisions of the simulator fall on frames."""

FINISHED: Final = 0.95
"""Confidence in the end of the turn when a text sounds complete."""
SECONDS_PER_WORD: Final = 0.25
"""Voiced audio per word of a script."""
UNFINISHED: Final = 0.45
"""The same when it does not: below every ``eot_threshold``, so only the timeout ends the turn."""


class Recognizer(Protocol):
    """Hears one connection; one turn after the other. Called by one thread at a time."""

    blocking: bool
    """Whether :meth:`feed` and :attr:`text` take so long that they belong in a thread."""

    @property
    def text(self) -> str:
        """Text of the running turn so far; may be revised by more audio."""

    @property
    def confidence(self) -> float:
        """How sure it is, at a pause, that the turn is over (0 to 1)."""

    def feed(self, frame: bytes, voiced: bool) -> None:
        """Hear the next frame of linear16 mono; ``voiced``: it is loud enough to be speech."""

    def end_turn(self) -> None:
        """Forget the running turn; what follows belongs to the next."""

    def finish(self) -> None:
        """Decode what is left; no more audio comes."""

    def close(self) -> None:
        """Give up what it holds; called once, at the end of the connection."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is said without a pause.

    ``interim`` is what the recognizer believes while it is spoken, ``text`` what it settles on.
    """

    text: str
    confidence: float = FINISHED
    interim: str | None = None


@dataclass(frozen=True, slots=True)
class ScriptedTurn:
    """One turn of a script: parts with pauses between them.

    Only the last part can sound complete; at the pauses before, the turn goes on.
    """

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, *texts: str, unfinished: bool = False) -> "ScriptedTurn":
        """Return a turn of these texts, each followed by a pause."""
        *first, last = texts
        parts = [Part(text, UNFINISHED) for text in first]
        parts.append(Part(last, UNFINISHED if unfinished else FINISHED))
        return cls(tuple(parts))


_SETTLED_FRAMES: Final = 10
"""Silence after which a part's whole text stands, however short it was."""
_PAUSE_FRAMES: Final = 20
"""Silence after which more voice is the next part."""
_SHORTEST_FRAMES: Final = 5
"""Less voice than this is a noise and starts nothing."""


class ScriptRecognizer:
    """Hears what the script says, word by word, while the audio is voiced.

    The whole text of a part stands once 100 ms of silence follow. After the last turn of the
    script it hears nothing any more. ``seconds_per_word`` counts voiced audio.
    """

    blocking = False

    def __init__(
        self, script: Iterable[ScriptedTurn | str], *, seconds_per_word: float = SECONDS_PER_WORD
    ) -> None:
        """Take turns; a plain text is a turn that sounds complete."""
        self._turns = [
            one if isinstance(one, ScriptedTurn) else ScriptedTurn.of(one) for one in script
        ]
        self._frames_per_word = max(1, round(seconds_per_word * 1000 / FRAME_MS))
        self._turn = 0
        self._part = 0
        self._voiced = 0
        self._silence = 0
        self._settled = False

    @property
    def text(self) -> str:
        """Settled parts and the words of the running one."""
        parts = self._parts
        if self._part >= len(parts):
            return ""
        heard = [part.text for part in parts[: self._part]]
        part = parts[self._part]
        if self._settled:
            heard.append(part.text)
        else:
            words = (part.interim or part.text).split()
            heard.extend(words[: self._voiced // self._frames_per_word])
        return " ".join(heard)

    @property
    def confidence(self) -> float:
        """What the script says of the running part."""
        parts = self._parts
        return parts[self._part].confidence if self._part < len(parts) else 0.0

    def feed(self, frame: bytes, voiced: bool) -> None:
        """Count voice and silence."""
        if not voiced:
            self._silence += 1
            if self._silence == _SETTLED_FRAMES and self._voiced >= _SHORTEST_FRAMES:
                self._settled = True
            return
        if self._silence >= _PAUSE_FRAMES:
            if self._settled and self._part + 1 < len(self._parts):
                self._part += 1
                self._settled = False
                self._voiced = 0
            elif not self._settled:
                self._voiced = 0
        self._silence = 0
        self._voiced += 1

    def end_turn(self) -> None:
        """Go on to the next turn of the script."""
        self._turn += 1
        self._part = 0
        self._voiced = 0
        self._silence = 0
        self._settled = False

    def finish(self) -> None:
        """Do nothing: a script has no buffer."""

    def close(self) -> None:
        """Do nothing."""

    @property
    def _parts(self) -> tuple[Part, ...]:
        return self._turns[self._turn].parts if self._turn < len(self._turns) else ()
