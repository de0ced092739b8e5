"""Text that the other side wrote, made fit for logs and people: one printable line, no secrets."""

from typing import Final

from .endpoint import Endpoint

MAX_TEXT: Final = 200
"""Characters that are kept."""

_SHORTEST_SECRET: Final = 4


def one_line(text: str) -> str:
    """Return one printable line of bounded length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"


def without_secrets(text: str, endpoint: Endpoint) -> str:
    """Return the text without the token and headers of ``endpoint``, should it repeat them."""
    for secret in (endpoint.token, *endpoint.headers.values()):
        if secret and len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text
