"""Cloudflare's API without I/O: steps for whoever has an HTTP client, and what answers mean.

Paths and permissions: developers.cloudflare.com/api, Workers. Codes: those that wrangler 4.153 acts
on, and what people report of them; Cloudflare has no list.
"""

import json
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final

from wyoming_flux import __version__
from wyoming_flux.errors import (
    AuthFailed,
    InvalidSetting,
    PaymentRequired,
    QuotaExceeded,
    Refused,
    Unreachable,
    WyomingFluxError,
    one_line,
)

API: Final = "https://api.cloudflare.com/client/v4"
MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer that are worth reading; our Worker has a fiftieth of that."""

_RETRIES: Final = (1.0, 3.0)
"""Pauses in seconds before an API request without an answer is sent again; all may be repeated."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request to be sent as it is, redirects not followed; wants a :class:`Reply`."""

    purpose: str
    """What is being done, for a person: "looking for the account"."""
    method: str
    url: str
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    api: bool = True
    """Whether it goes to Cloudflare's API, and so needs the API token."""
    timeout: float = 30.0
    """Seconds that the whole exchange may take."""

    def headers(self, api_token: str) -> dict[str, str]:
        """Return the headers to send, with the API token only where it belongs."""
        # Cloudflare turns away the names that Python's clients give themselves.
        headers = {"User-Agent": f"wyoming-flux/{__version__}", "Accept": "*/*"}
        if self.api:
            headers["Authorization"] = f"Bearer {api_token}"
        if self.body is not None:
            headers["Content-Type"] = self.content_type
        return headers


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds; wants None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class KeepToken:
    """The Worker's new token, to be kept before it is uploaded: nobody can read it there later.

    Wants None.
    """

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request: status and body; status 0 with the reason as body if nothing did."""

    status: int
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class DropToken:
    """The token that was kept did not reach the Worker: it opens nothing. Wants None."""


Step = Request | Pause | KeepToken | DropToken


_ABSENT: Final = frozenset({10007, 10090})
# An API token that is malformed, unknown or expired; and one that may not do what was asked.
_TOKEN: Final = frozenset({1000, 6003, 6111, 9106, 10001})
_PERMISSION: Final = frozenset({9109, 10000, 10023})


def send(request: Request) -> Generator[Step, Reply | None, Reply]:
    """Send a request until there is an answer; raise what is wrong with it."""
    answer = yield from _exchange(request)
    if not 200 <= answer.status < 300:
        raise _cause(answer, request.purpose)
    return answer


def if_there(request: Request) -> Generator[Step, Reply | None, Reply | None]:
    """Like :func:`send`, with None for what Cloudflare does not have."""
    answer = yield from _exchange(request)
    if _errors(answer)[0] & _ABSENT:
        return None
    if not 200 <= answer.status < 300:
        raise _cause(answer, request.purpose)
    return answer


def _exchange(request: Request) -> Generator[Step, Reply | None, Reply]:
    for pause in (*_RETRIES, None):
        answer = yield request
        assert answer is not None  # noqa: S101 - what the script is sent for a request
        if pause is None or 0 < answer.status < 500:
            return answer
        yield Pause(pause)
    raise AssertionError("the last round returns")


def read_json(body: bytes) -> Any:
    """Return what a body holds, None if it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def result(answer: Reply) -> Any:
    """Return the result of an answer of the API, None if there is none."""
    fields = read_json(answer.body)
    return fields.get("result") if isinstance(fields, dict) else None


def records(value: Any) -> list[dict[str, Any]]:
    """Return the records of a list, none of what is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _errors(answer: Reply) -> tuple[set[int], str]:
    """Return the codes of an answer, those behind the first included, and its first sentence."""
    fields = read_json(answer.body)
    found = records(fields.get("errors") if isinstance(fields, dict) else None)
    chain = [one for error in found for one in records(error.get("error_chain"))]
    codes = {one["code"] for one in found + chain if isinstance(one.get("code"), int)}
    return codes, one_line(str(found[0].get("message", ""))) if found else ""


def _cause(answer: Reply, doing: str) -> WyomingFluxError:
    """Return what an answer that is no success means, with what to do about it."""
    codes, said = _errors(answer)
    label = ", ".join(map(str, sorted(codes))) or f"HTTP {answer.status}"
    known: dict[str, Any] = {"status": answer.status or None, "upstream_code": label}
    if 10031 in codes:
        return InvalidSetting("subdomain", "somebody else has this name at workers.dev already")
    if 10063 in codes:
        return InvalidSetting("subdomain", "the account needs a name at workers.dev first")
    if codes & {7000, 7003}:
        return InvalidSetting("account_id", f"Cloudflare has no such account ({label})")
    for some, failure, sentence in _SENTENCES:
        if codes & some:
            return failure(f"{sentence} ({label})", **known)
    # Not a code, but the text: which one refuses the terms of Workers AI is documented nowhere.
    if re.search(r"\b(terms|agreement)\b", said, re.IGNORECASE):
        return Refused(f"{_TERMS} ({label}: {said})", **known)
    if answer.status in (401, 403):
        return AuthFailed(f"{_MAY_NOT} ({label})", **known)
    if answer.status == 429:
        return Unreachable("Cloudflare takes no more requests for now: wait five minutes", **known)
    if not 0 < answer.status < 500:
        why = said or one_line(answer.body.decode("utf-8", "replace"))
        return Unreachable(f"Cloudflare did not answer properly while {doing} ({label}): {why}")
    return Refused(f"Cloudflare refused while {doing} ({label}): {said or 'no reason'}", **known)


_MAY_NOT: Final = (
    "this API token may not do that: it needs the permissions Workers Scripts: Edit and Account"
    " Settings: Read, in the right account"
)
_TERMS: Final = (
    "the terms of Workers AI have to be accepted first: open Workers AI in Cloudflare's dashboard"
)
_SENTENCES: Final = (
    (
        _TOKEN,
        AuthFailed,
        "Cloudflare does not know this API token: copy all of it, or make another",
    ),
    (_PERMISSION, AuthFailed, _MAY_NOT),
    ({5016}, Refused, _TERMS),
    ({10034}, Refused, "the e-mail address of the account has to be confirmed first"),
    ({10037}, PaymentRequired, "the account has as many Workers as its plan allows: delete one"),
    ({3023, 5035}, PaymentRequired, "the account must pay, or change to a plan that allows this"),
    ({3036, 4006}, QuotaExceeded, "today's allowance is used up; it is renewed at 00:00 UTC"),
)
