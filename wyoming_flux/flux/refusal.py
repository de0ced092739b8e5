"""A refused upgrade becomes its cause.

Knows Deepgram's two shapes (``err_code``/``err_msg`` and ``code``/``description``), Workers AI's
(``errors[]`` and ``internalCode``), our Worker's (``error`` with ``source``) and the plain or HTML
pages of Cloudflare's edge. The code in a body decides before the status: Workers AI answers 429
both for "try again" and for "not before tomorrow".
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from wyoming_flux.errors import (
    AuthFailed,
    EndpointError,
    EndpointNotFound,
    NotFlux,
    PaymentRequired,
    QuotaExceeded,
    Refused,
    Unreachable,
)

from .foreign import one_line

# What the body's code means, whatever the status. Workers AI: developers.cloudflare.com,
# workers-ai/platform/errors; 4006, 5030, 8005 and 3021 were seen but are not documented there.
# Deepgram: docs/errors. The Worker's own are in worker/src/index.js.
_AUTH: Final = frozenset({"10000", "INVALID_AUTH", "unauthorized"})
_QUOTA: Final = frozenset({"3036", "4006", "1027"})
_PAYMENT: Final = frozenset({"5035", "3023", "ASR_PAYMENT_REQUIRED"})
_PARAMETERS: Final = frozenset(
    {"5030", "5004", "3003", "no-websocket", "INVALID_QUERY_PARAMETER", "INVALID_PARAMETER"}
)
_PASSING: Final = frozenset({"3040", "3021", "3007", "3008", "8005", "1015", "1102", "1101"})
_NOT_FOUND: Final = frozenset({"1042", "2001", "PROJECT_NOT_FOUND"})
_FINAL: Final = frozenset(
    {"5007", "5016", "5018", "3041", "3042", "5005", "5019", "INSUFFICIENT_PERMISSIONS"}
)

_BEHIND_WORKER: Final = _AUTH | {"http-401", "http-403"}

_LOGIN_HOST: Final = re.compile(r"(^|\.)cloudflareaccess\.com$")
_LOGIN_PATH: Final = re.compile(
    r"/(cdn-cgi/access/)?(log-?in|sign-?in|sso|oauth2?)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Body:
    code: str = ""
    message: str = ""
    source: str = ""
    request_id: str = ""


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
    quote = f": {said.message}" if said.message else ""
    label = said.code or f"HTTP {status}"
    if said.source == "worker":
        worker = _our_worker(said, host, known)
        if worker is not None:
            return worker
    if said.source == "upstream" and said.code in _BEHIND_WORKER:
        # No token of ours is meant: the Worker's own Cloudflare account is.
        return Refused(f"Workers AI refused the Worker {host} ({label}){quote}", **known)
    if said.code in _AUTH:
        return AuthFailed(f"{host} does not accept the token{quote}; give a new one", **known)
    if said.code in _QUOTA:
        return QuotaExceeded(
            f"today's allowance at {host} is used up ({label}); it is renewed at 00:00 UTC", **known
        )
    if said.code in _PAYMENT:
        return PaymentRequired(
            f"the account behind {host} must be paid for ({label}){quote}", **known
        )
    if said.code in _PARAMETERS:
        return Refused(f"{host} refused a parameter ({label}){quote}", parameters=True, **known)
    if said.code in _PASSING:
        return Unreachable(f"{host} is overloaded or has a fault ({label}){quote}", **known)
    if said.code in _NOT_FOUND:
        return EndpointNotFound(
            f"there is no Worker, gateway or project at {host} ({label}){quote}", **known
        )
    if said.code in _FINAL:
        return Refused(f"{host} refused ({label}){quote}", **known)
    return _by_status(status, headers, said, host, known)


def _our_worker(said: _Body, host: str, known: dict[str, Any]) -> EndpointError | None:
    quote = said.message or "no reason given"
    causes: dict[str, Callable[[], EndpointError]] = {
        "unauthorized": lambda: AuthFailed(
            f"the Worker {host} does not accept the token: give the value of its secret FLUX_TOKEN",
            **known,
        ),
        "not-configured": lambda: Refused(f"the Worker {host} is not set up: {quote}", **known),
        "invalid-parameter": lambda: Refused(
            f"the Worker {host} refused a parameter: {quote}", parameters=True, **known
        ),
        "rate-limited": lambda: Unreachable(f"the Worker {host} limits its rate: {quote}", **known),
        "not-found": lambda: EndpointNotFound(f"wrong path at the Worker {host}: {quote}", **known),
    }
    cause = causes.get(said.code)
    return cause() if cause is not None else None


def _by_status(
    status: int, headers: Mapping[str, str], said: _Body, host: str, known: dict[str, Any]
) -> EndpointError:
    quote = f": {said.message}" if said.message else ""
    if 300 <= status < 400:
        return _redirect(headers.get("location", ""), host, known)
    if status in (408, 425, 429) or status >= 500:
        return Unreachable(f"{host} answered HTTP {status}{quote}", **known)
    match status:
        case 400 | 413 | 414 | 431:
            return Refused(
                f"{host} refused the request (HTTP {status}){quote}", parameters=True, **known
            )
        case 401:
            return AuthFailed(f"{host} wants a valid token (HTTP 401){quote}", **known)
        case 402:
            return PaymentRequired(f"the account behind {host} has no credit left{quote}", **known)
        case 404 | 410:
            return EndpointNotFound(
                f"nothing was found at this URL of {host}; check host and path{quote}", **known
            )
        case 405 | 406 | 426 | 501:
            return NotFlux(f"{host} takes no WebSocket here (HTTP {status})", **known)
        case _ if status < 300:
            return NotFlux(
                f"{host} answered with a page instead of a WebSocket: it is not Flux", **known
            )
        case _:
            return Refused(f"{host} refused (HTTP {status}){quote}", **known)


def _redirect(location: str, host: str, known: dict[str, Any]) -> EndpointError:
    try:
        target = urlsplit(location)
    except ValueError:
        target = urlsplit("")
    name = target.hostname or ""
    if _LOGIN_HOST.search(name) or _LOGIN_PATH.search(target.path):
        return AuthFailed(
            f"{host} sends us to a login page (Cloudflare Access?): give a service token with a"
            " header file",
            **known,
        )
    where = f" to {name}" if name and name != host.partition(":")[0] else ""
    return EndpointNotFound(
        f"{host} redirects{where}, which is not followed: give the final URL", **known
    )


def _read(body: bytes, headers: Mapping[str, str]) -> _Body:
    request_id = headers.get("dg-request-id", "") or headers.get("cf-ai-req-id", "")
    text = body[:65536].decode("utf-8", "replace")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict):
        return _read_json(fields, headers, request_id)
    edge = re.search(r"error code:?\s*(\d{4})\b", text, re.IGNORECASE) or re.search(
        r"cf-error-code[^>]*>\s*(\d{4})\b", text
    )
    return _Body(
        code=edge.group(1) if edge else "",
        message=one_line(headers.get("dg-error", "")),
        request_id=one_line(request_id or headers.get("cf-ray", "")),
    )


def _read_json(fields: dict[str, Any], headers: Mapping[str, str], request_id: str) -> _Body:
    inner: dict[str, Any] = fields
    errors = fields.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        inner = errors[0]
    elif isinstance(fields.get("error"), dict):
        inner = fields["error"]
    code = _first(inner, ("internalCode", "err_code", "code", "category", "error_code"))
    message = _first(inner, ("err_msg", "message", "description", "details"))
    if (prefix := re.match(r"(?:AiError: )*(\d{4}): ", message)) and not re.fullmatch(
        r"\d{4,5}", code
    ):
        # Real Workers AI errors carry the number in front of the text as well.
        code = prefix.group(1)
    return _Body(
        code=one_line(code),
        message=one_line(message or headers.get("dg-error", "")),
        source=_first(inner, ("source",)) or _first(fields, ("source",)),
        request_id=one_line(
            _first(inner, ("request_id", "requestId"))
            or _first(fields, ("request_id", "requestId"))
            or request_id
        ),
    )


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""
