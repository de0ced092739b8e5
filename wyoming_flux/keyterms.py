"""Many sources of key terms -> one clean list within Flux's limits, strongest first.

Flux refuses the whole connection for one blank term or one of 101 characters (protocol reference,
section 1), so nothing gets past here that could cost the user the turn.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from wyoming_flux.errors import os_reason

from .errors import InvalidSetting
from .settings import MAX_KEYTERM_CHARACTERS, MAX_KEYTERMS

MAX_TOKENS: Final = 500
"""Flux's limit over all key terms; we can only estimate, see :func:`tokens`."""
MAX_QUERY_BYTES: Final = 4096
"""Longest part of the query that key terms may take: what stands before Flux limits URLs."""
MAX_FILE_BYTES: Final = 256 * 1024
"""Longest key term file that is read: far more than could be sent."""

SETTING: Final = "keyterms_file"
"""The setting that :func:`read_file` names in its errors."""

# Format characters that change how the letters beside them are written, in Hindi for one.
_JOINERS: Final = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class KeytermList:
    """What :func:`merge` makes: key terms that Flux takes, and how many others there were."""

    terms: tuple[str, ...]
    """Clean, different from each other, strongest first, within all limits."""
    cut: int
    """How many different terms did not fit: too long, or past a limit."""


def merge(*sources: Iterable[object] | None) -> KeytermList:
    """Merge sources of key terms, the strongest first, into a list within Flux's limits.

    Each term is cleaned (:func:`clean`); blanks and what is not a string are ignored, since events
    come from outside. Of terms that differ only in case the first spelling stays. Terms over 100
    characters are left out. Then terms are taken in order while all of them together stay within
    100 terms, :data:`MAX_TOKENS` and :data:`MAX_QUERY_BYTES`; from the first that does not fit on,
    all are cut, so that a weak term never displaces a stronger one. Never raises.
    """
    different: dict[str, str] = {}
    for term in _terms(sources):
        different.setdefault(term.casefold(), term)

    fitting = [term for term in different.values() if len(term) <= MAX_KEYTERM_CHARACTERS]
    used_tokens = 0.0
    used_bytes = 0
    count = 0
    for term in fitting[:MAX_KEYTERMS]:
        used_tokens += tokens(term)
        used_bytes += query_bytes(term)
        if used_tokens > MAX_TOKENS or used_bytes > MAX_QUERY_BYTES:
            break
        count += 1
    return KeytermList(terms=tuple(fitting[:count]), cut=len(different) - count)


def split(terms: Iterable[str]) -> list[str]:
    """Return what a person typed as single terms: a list in one field has commas or lines."""
    return [one for term in terms for one in re.split(r"[,\n\r]", term) if one.strip()]


def clean(term: str) -> str:
    """Return ``term`` without control characters, its white space collapsed; maybe ``""``.

    Left out are control characters, invisible format characters (except the two joiners that some
    scripts need) and lone surrogates, which cannot be encoded.
    """
    if term.isprintable():
        # The usual case; besides those left out below this also excludes all but one white space.
        return " ".join(term.split())
    kept = "".join(
        character
        for character in term
        if character.isspace()
        or character in _JOINERS
        or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}
    )
    collapsed = " ".join(kept.split())
    return collapsed if collapsed.strip(_JOINERS + " ") else ""


def tokens(term: str) -> float:
    """Estimate what ``term`` takes of :data:`MAX_TOKENS`: its words times 1.5.

    Deepgram's tokenizer is not public; common English words are one token, names two or three.
    Where a script has no spaces (Japanese) this is far too low, but :data:`MAX_QUERY_BYTES` is the
    tighter limit there: a character takes nine bytes, so that at most about 450 of them fit.
    """
    return 1.5 * len(term.split())


def query_bytes(term: str) -> int:
    """Return what ``term`` takes in the query: ``&keyterm=`` and its percent-encoded UTF-8."""
    return len("&keyterm=") + len(quote(term, safe=""))


def read_file(path: str | Path) -> tuple[str, ...]:
    """Read a key term file: UTF-8, one term per line; a line that begins with ``#`` is a comment.

    A ``#`` further on belongs to the term (C#). The terms come back clean, in their order; what all
    of them together may take is for :func:`merge`. Raises :class:`InvalidSetting`
    (``keyterms_file``), naming the line where there is one, for what cannot be read, is not UTF-8,
    or is a term over 100 characters.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidSetting(
            SETTING, f"The key term file {str(path)!r} cannot be read: {os_reason(error)}."
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise InvalidSetting(
            SETTING,
            f"The key term file {str(path)!r} is larger than {MAX_FILE_BYTES // 1024} KiB;"
            f" Flux takes at most {MAX_KEYTERMS} key terms.",
        )
    found: list[str] = []
    # A byte order mark is what some editors put in front of UTF-8.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            term = clean(line.decode())
        except UnicodeDecodeError as error:
            raise InvalidSetting(
                SETTING, f"Line {number} of the key term file {str(path)!r} is not UTF-8 text."
            ) from error
        if not term or term.startswith("#"):
            continue
        if len(term) > MAX_KEYTERM_CHARACTERS:
            raise InvalidSetting(
                SETTING,
                f"Line {number} of the key term file {str(path)!r} has {len(term)} characters;"
                f" a key term has at most {MAX_KEYTERM_CHARACTERS}.",
            )
        found.append(term)
    return tuple(found)


def _terms(sources: Iterable[Iterable[object] | None]) -> Iterator[str]:
    for source in sources:
        # A bare string is one term, not a source of letters.
        found = (source,) if isinstance(source, str) else source
        if not isinstance(found, Iterable):
            continue
        for term in found:
            if isinstance(term, str) and (cleaned := clean(term)):
                yield cleaned
