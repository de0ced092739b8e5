"""The upgrade: which requests become a stream, and how the others are refused.

Source: protocol reference, sections 1, 5 and 6; worker reference, section 2.1.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from . import parameters
from .faults import Refuse
from .parameters import (
    InvalidParameter,
    NotTaken,
    StreamParameters,
    UnknownModel,
    WrongInputType,
)
from .profiles import Profile

MODEL: Final = "@cf/deepgram/flux"


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """An upgrade request: path with query, and headers with lower-case names."""

    target: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path or "/"

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query in its order, decoded; blank values are kept."""
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that does not: the whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def decide(
    request: UpgradeRequest, profile: Profile, *, request_id: str, token: str | None = None
) -> StreamParameters | Refusal:
    """Return what a request asks for, or its refusal; with a ``token``, it must bring it."""
    if profile.base == "deepgram":
        return _deepgram(request, profile, request_id, token)
    return _workers_ai(request, profile, request_id, token)


def refuse(fault: Refuse, profile: Profile, request_id: str) -> Refusal:
    """Return the answer that a fault wants, in the profile's own shape where it gives no body."""
    if fault.body is not None:
        headers = {profile.request_id_header: request_id}
        if fault.location:
            headers["location"] = fault.location
        kind = "application/json" if fault.body.lstrip().startswith("{") else "text/html"
        return Refusal(fault.status, {"content-type": kind, **headers}, fault.body.encode())
    if profile.base == "deepgram":
        answer = _deepgram_refusal(
            fault.status, fault.code or "SIMULATED_FAULT", fault.message, request_id
        )
    else:
        code = int(fault.code) if fault.code.isdigit() else 8005
        answer = _workers_refusal(fault.status, code, fault.message, request_id)
    if fault.location:
        answer = Refusal(answer.status, {**answer.headers, "location": fault.location}, answer.body)
    return answer


def _deepgram(
    request: UpgradeRequest, profile: Profile, request_id: str, token: str | None
) -> StreamParameters | Refusal:
    def refusal(status: int, code: str, message: str) -> Refusal:
        return _deepgram_refusal(status, code, message, request_id)

    if not request.path.endswith("/v2/listen"):
        return refusal(404, "NOT_FOUND", "Not Found")
    offered = [one.strip() for one in request.headers.get("sec-websocket-protocol", "").split(",")]
    if token is not None:
        given = request.headers.get("authorization", "")
        by_header = given == f"Token {token}"
        if not by_header and offered != ["token", token]:
            return refusal(401, "INVALID_AUTH", "Invalid credentials.")
    try:
        return parameters.from_query(request.query, profile)
    except NotTaken as error:
        return refuse(error.refusal, profile, request_id)
    except UnknownModel as error:
        return refusal(403, "INSUFFICIENT_PERMISSIONS", str(error))
    except InvalidParameter as error:
        if error.name == "language_hint":
            return _refusal(
                400,
                {"code": "INVALID_PARAMETER", "description": str(error)},
                {"dg-request-id": request_id, "dg-error": _header_text(str(error))},
            )
        return refusal(
            400,
            "INVALID_QUERY_PARAMETER",
            f"Failed to deserialize query parameters: {error}",
        )


def _workers_ai(
    request: UpgradeRequest, profile: Profile, request_id: str, token: str | None
) -> StreamParameters | Refusal:
    binding = request.path == "/run" and any(name == "body" for name, _ in request.query)

    def refusal(status: int, code: int, message: str) -> Refusal:
        if binding:
            body = {"internalCode": code, "name": "AiError", "description": message}
            return _refusal(status, body, {"cf-ai-req-id": request_id})
        return _workers_refusal(status, code, message, request_id)

    gateway = not binding and request.path.rstrip("/").endswith("/workers-ai")
    if token is not None and not binding and not _authorized(request, token, gateway):
        return refusal(401, 10000, "Authentication error")
    query: Sequence[tuple[str, str]] = request.query
    try:
        if binding:
            return parameters.from_inputs(_binding_inputs(request), profile)
        if gateway:
            if ("model", MODEL) not in query:
                return refusal(400, 5007, "No such model")
            query = [pair for pair in query if pair != ("model", MODEL)]
        return parameters.from_query(query, profile)
    except NotTaken as error:
        return refuse(error.refusal, profile, request_id)
    except WrongInputType as error:
        return refusal(500, 5030, f"AiError: {error}")
    except UnknownModel as error:
        return refusal(400, 5007, str(error))
    except InvalidParameter as error:
        return refusal(400, 5004, f"Invalid data: {error}")


def _authorized(request: UpgradeRequest, token: str, gateway: bool) -> bool:
    if not gateway:
        return request.headers.get("authorization") == f"Bearer {token}"
    # Cloudflare's pages disagree about "Bearer" here; both pass.
    given = request.headers.get("cf-aig-authorization")
    return given in (f"Bearer {token}", token)


def _binding_inputs(request: UpgradeRequest) -> object:
    """Return what ``env.AI.run(model, inputs, {websocket: true})`` put into the URL."""
    query = dict(request.query)
    if query.get("version") != "3":
        raise InvalidParameter("version", "version must be 3")
    if request.headers.get("cf-consn-model-id", MODEL) != MODEL:
        raise UnknownModel("model", "No such model")
    try:
        body = json.loads(query["body"])
    except ValueError:
        raise InvalidParameter("body", "body is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidParameter("body", "body is not an object")
    options = body.get("options")
    if not isinstance(options, dict) or options.get("websocket") is not True:
        raise InvalidParameter("options", "this model only supports websocket connections")
    return body.get("inputs")


def _workers_refusal(status: int, code: int, message: str, request_id: str) -> Refusal:
    body = {"errors": [{"code": code, "message": message}], "success": False, "result": {}}
    return _refusal(status, body, {"cf-ai-req-id": request_id})


def _deepgram_refusal(status: int, code: str, message: str, request_id: str) -> Refusal:
    # Its 503 really has another name for the code.
    name = "error_code" if status == 503 else "err_code"
    body = {name: code, "err_msg": message, "request_id": request_id}
    headers = {"dg-request-id": request_id, "dg-error": _header_text(message)}
    return _refusal(status, body, headers)


def _refusal(status: int, body: Mapping[str, object], headers: Mapping[str, str]) -> Refusal:
    return Refusal(
        status, {"content-type": "application/json", **headers}, json.dumps(body).encode()
    )


def _header_text(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")
