"""Refused upgrades and their causes: the table of docs/endpoints.md."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.errors import EndpointError, Refused
from wyoming_flux.flux.refusal import refusal


def worker(code: str, message: str = "do this", source: str = "worker") -> dict[str, Any]:
    """Return a body of our Worker."""
    return {"error": {"code": code, "message": message, "source": source}}


def workers_ai(code: int, message: str = "m") -> dict[str, Any]:
    """Return a body of Workers AI."""
    return {"errors": [{"code": code, "message": message}], "success": False, "result": {}}


def gateway(code: int, message: str = "m") -> dict[str, Any]:
    """Return a body of AI Gateway: its list is in `error`."""
    error = [{"code": code, "message": message}]
    return {"success": False, "result": [], "messages": [], "error": error}


def deepgram(code: str, message: str = "m") -> dict[str, Any]:
    """Return a body of Deepgram."""
    return {"err_code": code, "err_msg": message, "request_id": "dg-1"}


@pytest.mark.parametrize(
    ("status", "body", "code", "retry"),
    [
        # our Worker
        (401, worker("unauthorized"), "auth", False),
        (503, worker("not-configured"), "refused", False),
        (400, worker("invalid-parameter"), "refused", "parameters"),
        (502, worker("no-websocket", source="upstream"), "refused", "parameters"),
        (429, worker("rate-limited"), "unreachable", True),
        (404, worker("not-found"), "endpoint-not-found", False),
        (502, worker("upstream-failed", source="upstream"), "unreachable", True),
        (502, worker("10000", source="upstream"), "refused", False),
        (502, worker("http-403", source="upstream"), "refused", False),
        (429, worker("3036", source="upstream"), "quota", False),
        # Workers AI
        (401, workers_ai(10000, "Authentication error"), "auth", False),
        (400, workers_ai(10000, "Authentication error"), "auth", False),
        (429, workers_ai(3036), "quota", False),
        (429, workers_ai(4006), "quota", False),
        (429, {"internalCode": 0, "message": "4006: you have used up ..."}, "quota", False),
        (429, workers_ai(3040, "AiError: 3036: not this one"), "unreachable", True),
        (429, workers_ai(3040), "unreachable", True),
        (429, workers_ai(3021), "unreachable", True),
        (403, workers_ai(5035), "payment", False),
        (403, workers_ai(3023), "payment", False),
        (
            500,
            {"internalCode": 5030, "name": "AiError", "description": "d"},
            "refused",
            "parameters",
        ),
        (400, workers_ai(5004), "refused", "parameters"),
        (400, workers_ai(5007), "refused", False),
        (403, workers_ai(3041), "refused", False),
        (408, workers_ai(3007), "unreachable", True),
        (500, workers_ai(8005), "unreachable", True),
        # Workers AI's `{}` instead of a WebSocket
        (200, {}, "refused", "parameters"),
        (
            200,
            {"result": {}, "success": True, "errors": [], "messages": []},
            "refused",
            "parameters",
        ),
        (200, {"ok": True, "version": "0.1.0"}, "not-flux", False),
        # AI Gateway, and Cloudflare's API
        (400, gateway(2001, "Please configure AI Gateway"), "endpoint-not-found", False),
        (401, gateway(2009, "Unauthorized"), "auth", False),
        (403, workers_ai(9109, "Invalid access token"), "auth", False),
        (400, workers_ai(6003, "Invalid request headers"), "auth", False),
        (404, workers_ai(7003, "Could not route to /accounts/x"), "endpoint-not-found", False),
        (502, worker("2001", source="upstream"), "refused", False),
        (502, worker("2009", source="upstream"), "refused", False),
        # Deepgram
        (401, deepgram("INVALID_AUTH"), "auth", False),
        (401, deepgram("INSUFFICIENT_PERMISSIONS"), "refused", False),
        (402, deepgram("ASR_PAYMENT_REQUIRED"), "payment", False),
        (400, deepgram("INVALID_QUERY_PARAMETER"), "refused", "parameters"),
        (
            400,
            {"code": "INVALID_PARAMETER", "description": "language_hint"},
            "refused",
            "parameters",
        ),
        (400, deepgram("Bad Request"), "refused", "parameters"),
        (404, deepgram("PROJECT_NOT_FOUND"), "endpoint-not-found", False),
        (429, deepgram("TOO_MANY_REQUESTS"), "unreachable", True),
        (503, {"error_code": "X", "message": "m"}, "unreachable", True),
        # Cloudflare's edge, and what else may stand there
        (500, "error code: 1101", "unreachable", True),
        (429, "error code: 1015", "unreachable", True),
        (429, "error code: 1027", "quota", False),
        (404, "error code: 1042", "endpoint-not-found", False),
        (403, "<html>Forbidden</html>", "refused", False),
        (403, '<span class="cf-error-code">1027</span>', "quota", False),
        (401, "", "auth", False),
        (402, "", "payment", False),
        (404, "<html>404</html>", "endpoint-not-found", False),
        (410, "", "endpoint-not-found", False),
        (405, "", "not-flux", False),
        (406, "", "not-flux", False),
        (501, "", "not-flux", False),
        (426, "", "not-flux", False),
        (200, "<html>Welcome</html>", "not-flux", False),
        (408, "", "unreachable", True),
        (425, "", "unreachable", True),
        (500, "", "unreachable", True),
        (413, "", "refused", "parameters"),
        (414, "", "refused", "parameters"),
        (431, "", "refused", "parameters"),
    ],
)
def test_causes(status: int, body: object, code: str, retry: bool | str) -> None:
    """Code before status; retried exactly where it can help."""
    text = body if isinstance(body, str) else json.dumps(body)
    error = refusal(status, {}, text.encode(), "flux.example")
    assert error.code == code
    assert error.retryable is (retry is True)
    assert (isinstance(error, Refused) and error.parameters) is (retry == "parameters")
    assert error.status == status


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("https://me.cloudflareaccess.com/cdn-cgi/access/login/flux.example?kid=1", "auth"),
        ("/login?next=/", "auth"),
        ("https://sso.example/oauth2/start", "auth"),
        ("https://elsewhere.example/", "endpoint-not-found"),
        ("http://[", "endpoint-not-found"),
        ("", "endpoint-not-found"),
    ],
)
def test_redirects_are_not_followed(location: str, code: str) -> None:
    """A login page wants credentials; any other redirect is told, without its query."""
    error = refusal(302, {"location": location}, b"", "flux.example")
    assert error.code == code
    assert "kid=1" not in str(error)


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://elsewhere.example/", " to elsewhere.example,"),
        ("https://flux.example/x", "redirects,"),
        ("/x", "redirects,"),
    ],
)
def test_the_host_of_a_redirect_is_told(location: str, where: str) -> None:
    """A person learns where it leads, if that is another host."""
    assert where in str(refusal(301, {"location": location}, b"", "flux.example:8443"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((299, "not-flux"), (300, "endpoint-not-found"), (399, "endpoint-not-found")),
        *((499, "refused"), (599, "unreachable"), (600, "refused")),
    ],
)
def test_kinds_of_statuses(status: int, code: str) -> None:
    """The hundreds decide about statuses that no row knows."""
    assert refusal(status, {"location": "https://elsewhere.example/"}, b"", "h").code == code


def test_the_sentence_is_for_a_person() -> None:
    """What the other side says is quoted on one bounded line, with its request id kept."""
    body = deepgram("Bad Request", "line one\nline two\x00" + "x" * 1000)
    error = refusal(400, {}, json.dumps(body).encode(), "api.deepgram.com")
    assert "line one line two" in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 320
    assert error.request_id == "dg-1"
    assert error.upstream_code == "Bad Request"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (worker("invalid-parameter", "The parameter keyterm must not be blank."), {"keyterm"}),
        (
            deepgram("Bad Request", "eager_eot_threshold > eot_threshold"),
            {"eager_eot_threshold", "eot_threshold"},
        ),
        (
            deepgram("Bad Request", "unknown field `tag`, expected one of `model`, `keyterm`"),
            {"tag"},
        ),
        (deepgram("Bad Request", "x" * 400 + " eot_timeout_ms"), {"eot_timeout_ms"}),
        (workers_ai(5004, "Invalid data: stage"), set()),
    ],
)
def test_parameters_that_are_named(body: object, named: set[str]) -> None:
    """What the other side says is wrong can be left out first."""
    error = refusal(400, {}, json.dumps(body).encode(), "flux.example")
    assert isinstance(error, Refused)
    assert error.named == named


@pytest.mark.parametrize("name", ["dg-request-id", "cf-ai-req-id", "cf-aig-log-id", "cf-ray"])
def test_the_request_id_is_kept(name: str) -> None:
    """The endpoint's support can find what was refused, whichever endpoint it is."""
    for body in (b"", b"{}"):
        assert refusal(500, {name: "id-1"}, body, "h").request_id == "id-1"


def test_dg_error_header() -> None:
    """Deepgram says the reason in a header, too."""
    for body in (b"", b"{}"):
        error = refusal(400, {"dg-error": "bad keyterm"}, body, "api.deepgram.com")
        assert "bad keyterm" in str(error)


@given(st.integers(200, 599), st.binary(max_size=200), st.text(max_size=40))
def test_any_answer_has_a_cause(status: int, body: bytes, location: str) -> None:
    """No answer of a hostile server raises anything else."""
    error = refusal(status, {"location": location}, body, "h")
    assert isinstance(error, EndpointError)
    assert str(error).isprintable()
