"""A refused upgrade becomes its cause: one table of codes, then one of statuses.

The code in a body decides before the status: Workers AI answers 429 both for "try again" and for
"not before tomorrow". A new code is one row here, and one of docs/endpoints.md, which a test reads.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from wyoming_flux.errors import (
    AuthFailed,
    EndpointError,
    EndpointNotFound,
    LoginNeeded,
    NotFlux,
    PaymentRequired,
    QuotaExceeded,
    Refused,
    Unreachable,
    one_line,
)

_Row = tuple[Callable[..., EndpointError], str]

_PLAINER: Final = functools.partial(Refused, parameters=True)

CODES: Final[Mapping[str, _Row]] = {
    code: (cause, sentence)
    for codes, cause, sentence in (
        # Our Worker: worker/src.
        (
            "unauthorized",
            AuthFailed,
            "the Worker {host} does not accept the token: give the value of its secret FLUX_TOKEN",
        ),
        ("not-configured", Refused, "the Worker {host} is not set up{quote}"),
        ("rate-limited", Unreachable, "the Worker {host} limits its rate{quote}"),
        ("not-found", EndpointNotFound, "wrong path at the Worker {host}{quote}"),
        # Four digits and 10000: Workers AI (workers-ai/platform/errors; 4006, 5030, 8005 and 3021
        # were seen, but are not documented), AI Gateway and Cloudflare's API (2001, 2009, 6003,
        # 7003, 9109), and Cloudflare's edge (1xxx: workers/observability/errors). Deepgram's are
        # words: docs/errors, and docs/flux/language-prompting for INVALID_PARAMETER.
        (
            "10000 9109 6003 INVALID_AUTH",
            AuthFailed,
            "{host} does not accept the token{quote}; give a new one",
        ),
        (
            "2009",
            AuthFailed,
            "{host} wants the gateway's own token{quote}: give an API token with AI Gateway",
        ),
        (
            "3036 4006 1027",
            QuotaExceeded,
            "today's allowance at {host} is used up ({label}); it is renewed at 00:00 UTC",
        ),
        (
            "5035 3023 ASR_PAYMENT_REQUIRED",
            PaymentRequired,
            "the account behind {host} must be paid for ({label}){quote}",
        ),
        (
            "invalid-parameter no-websocket 5030 5004 3003",
            _PLAINER,
            "{host} refused a parameter ({label}){quote}",
        ),
        (
            "INVALID_PARAMETER INVALID_QUERY_PARAMETER",
            _PLAINER,
            "{host} refused a parameter ({label}){quote}",
        ),
        (
            "3040 3021 3007 3008 8005 1015 1101 1102",
            Unreachable,
            "{host} is overloaded or has a fault ({label}){quote}",
        ),
        (
            "2001 7003 1042 PROJECT_NOT_FOUND",
            EndpointNotFound,
            "there is no Worker, account, gateway or project at {host} ({label}){quote}",
        ),
        (
            "5007 5016 5018 3041 3042 5005 5019 INSUFFICIENT_PERMISSIONS",
            Refused,
            "{host} refused ({label}){quote}",
        ),
    )
    for code in codes.split()
}
"""Code in the body -> cause and sentence, whatever the status."""

STATUSES: Final[Mapping[int, _Row]] = {
    status: (cause, sentence)
    for statuses, cause, sentence in (
        ((400, 413, 414, 431), _PLAINER, "{host} refused the request (HTTP {status}){quote}"),
        ((401,), AuthFailed, "{host} wants a valid token (HTTP {status}){quote}"),
        ((402,), PaymentRequired, "the account behind {host} has no credit left{quote}"),
        (
            (404, 410),
            EndpointNotFound,
            "nothing was found at this URL of {host}; check host and path{quote}",
        ),
        ((405, 406, 426, 501), NotFlux, "{host} takes no WebSocket here (HTTP {status})"),
        (
            (408, 425, 429, *(one for one in range(500, 600) if one != 501)),
            Unreachable,
            "{host} answered HTTP {status}{quote}",
        ),
    )
    for status in statuses
}
"""Status -> cause and sentence, where the code is none of the above."""

# No token of ours is meant by these behind our Worker: the Worker's own account and gateway are.
_BEHIND_WORKER: Final = frozenset(
    {"10000", "9109", "6003", "2001", "2009", "7003", "http-401", "http-403"}
)
_WORKER_REFUSED: Final = (Refused, "Workers AI refused the Worker {host} ({label}){quote}")

_PARAMETERS: Final = re.compile(
    r"\b(eot_threshold|eager_eot_threshold|eot_timeout_ms|keyterm|language_hint|tag)s?\b"
)
_LOGIN_HOST: Final = re.compile(r"(^|\.)cloudflareaccess\.com$")
_LOGIN_PATH: Final = re.compile(
    r"/(cdn-cgi/access/)?(log-?in|sign-?in|sso|oauth2?)\b", re.IGNORECASE
)


class _Body(NamedTuple):
    code: str = ""
    message: str = ""
    source: str = ""
    request_id: str = ""
    hollow: bool = False
    """Whether it is ``{}``, as Workers AI answers instead of opening a WebSocket."""


def refusal(status: int, headers: Mapping[str, str], body: bytes, host: str) -> EndpointError:
    """Return the cause of an upgrade that was answered with ``status`` instead of 101.

    ``headers`` must find names whatever their case; ``host`` is for the message alone.
    """
    said = _read(body, headers)
    known: dict[str, Any] = {
        "status": status,
        "upstream_code": said.code or None,
        "request_id": said.request_id or None,
    }
    if 300 <= status < 400:
        return _redirect(headers.get("location", ""), host, known)
    cause, sentence = _row(status, said)
    if cause is _PLAINER:
        # What comes after "expected one of" are those that it takes.
        known["named"] = _PARAMETERS.findall(said.message.partition("expected")[0])
    message = one_line(said.message)
    return cause(
        sentence.format(
            host=host,
            status=status,
            label=said.code,
            quote=f": {message}" if message else "",
        ),
        **known,
    )


def _row(status: int, said: _Body) -> _Row:
    if said.source == "upstream" and said.code in _BEHIND_WORKER:
        return _WORKER_REFUSED
    if row := CODES.get(said.code) or STATUSES.get(status):
        return row
    if status >= 300:
        return Refused, "{host} refused (HTTP {status}){quote}"
    if said.hollow:
        return _PLAINER, "{host} opened no WebSocket (HTTP {status}); a parameter may be the reason"
    return NotFlux, "{host} answered with a page instead of a WebSocket: it is not Flux"


def _redirect(location: str, host: str, known: dict[str, Any]) -> EndpointError:
    try:
        target = urlsplit(location)
    except ValueError:
        target = urlsplit("")
    name = target.hostname or ""
    if _LOGIN_HOST.search(name) or _LOGIN_PATH.search(target.path):
        return LoginNeeded(
            f"{host} sends us to a login page (Cloudflare Access?): give a service token with a"
            " header file",
            **known,
        )
    where = f" to {name}" if name and name != host.partition(":")[0] else ""
    return EndpointNotFound(
        f"{host} redirects{where}, which is not followed: give the final URL", **known
    )


def _read(body: bytes, headers: Mapping[str, str]) -> _Body:
    request_id = next((headers[name] for name in REQUEST_IDS if headers.get(name)), "")
    text = body[:65536].decode("utf-8", "replace")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict):
        return _read_json(fields, headers, request_id)
    edge = re.search(
        r"error code:?\s*(\d{4})\b|cf-error-code[^>]*>\s*(\d{4})\b", text, re.IGNORECASE
    )
    return _Body(
        code=edge.group(1) or edge.group(2) if edge else "",
        message=headers.get("dg-error", ""),
        request_id=one_line(request_id),
    )


REQUEST_IDS: Final = ("dg-request-id", "cf-ai-req-id", "cf-aig-log-id", "cf-ray")
"""Response headers with an id that the endpoint's support can find, the most telling first."""


def _read_json(fields: dict[str, Any], headers: Mapping[str, str], request_id: str) -> _Body:
    # Workers AI has a list in `errors`, AI Gateway one in `error`, our Worker an object there.
    inner = fields.get("errors") or fields.get("error")
    if isinstance(inner, list) and inner:
        inner = inner[0]
    if not isinstance(inner, dict):
        inner = fields
    code = _first(inner, "internalCode", "err_code", "code", "category", "error_code")
    message = _first(inner, "err_msg", "message", "description", "details")
    if (prefix := re.match(r"(?:AiError: )*(\d{4}): ", message)) and not re.fullmatch(
        r"\d{4,5}", code
    ):
        # Real Workers AI errors carry the number in front of the text as well.
        code = prefix.group(1)
    return _Body(
        code=one_line(code),
        message=message or headers.get("dg-error", ""),
        source=_first(inner, "source") or _first(fields, "source"),
        request_id=one_line(
            _first(inner, "request_id", "requestId")
            or _first(fields, "request_id", "requestId")
            or request_id
        ),
        hollow=not any(value for name, value in fields.items() if name != "success"),
    )


def _first(fields: dict[str, Any], *names: str) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""
