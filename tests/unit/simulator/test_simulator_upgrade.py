"""Which upgrades become a stream, and how the others are refused in each profile's own shapes."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.simulator import (
    DEEPGRAM,
    PROFILES,
    WORKERS_AI,
    Refusal,
    StreamParameters,
    UpgradeRequest,
)
from wyoming_flux.simulator.faults import Refuse
from wyoming_flux.simulator.parameters import InvalidParameter, from_inputs, from_query
from wyoming_flux.simulator.upgrade import decide, refuse

Target = Callable[..., str]
Decision = StreamParameters | Refusal


def knock(
    target: str,
    headers: dict[str, str] | None = None,
    *,
    profile: str = "workers-ai",
    token: str | None = None,
) -> Decision:
    """The answer to an upgrade request."""
    request = UpgradeRequest(target, headers or {})
    return decide(request, PROFILES[profile], request_id="id", token=token)


def refused(answer: Decision) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of a refusal."""
    assert isinstance(answer, Refusal), answer
    return answer.status, json.loads(answer.body)


def code(body: dict[str, Any]) -> object:
    """The code in any of the shapes: Deepgram's two, Cloudflare's, the binding's."""
    if "errors" in body:
        assert body["success"] is False
        return body["errors"][0]["code"]
    if "internalCode" in body:
        assert body["name"] == "AiError"
        return body["internalCode"]
    return body.get("err_code") or body["code"]


def binding(inputs: object, **options: object) -> str:
    """What the AI binding of a Worker asks for."""
    body = {"inputs": inputs, "options": {"websocket": True, **options}}
    return "/run?" + urlencode({"version": "3", "body": json.dumps(body)})


GOOD = {
    "deepgram": [
        (),
        (("eot_threshold", "1.0"),),
        (("eot_threshold", "0.5"), ("eager_eot_threshold", "0.5")),
        (("eot_timeout_ms", "500"),),
        (("eot_timeout_ms", "60000"),),
        (("keyterm", "a"), ("keyterm", "b, c"), ("keyterm", "x" * 100)),
        tuple(("keyterm", str(n)) for n in range(100)),
        (("mip_opt_out", "true"), ("tag", "a"), ("tag", "x" * 128)),
        (("numerals", "false"), ("profanity_filter", "true"), ("redact", "numbers")),
    ],
    "workers-ai": [
        (),
        (("eot_threshold", "0.9"), ("eager_eot_threshold", "0.9")),
        (("keyterm", "a"), ("keyterm", "b")),
        (("mip_opt_out", "false"), ("tag", "home")),
    ],
}
BAD_BOTH = [
    (("eot_threshold", "0.49"),),
    (("eot_threshold", "1.01"),),
    (("eot_threshold", "high"),),
    (("eot_threshold", "nan"),),
    (("eot_threshold", "0,7"),),
    (("eot_threshold", ""),),
    (("eager_eot_threshold", "0.29"),),
    (("eager_eot_threshold", "0.91"),),
    (("eager_eot_threshold", "0.8"),),
    (("eot_timeout_ms", "499"),),
    (("eot_timeout_ms", "60001"),),
    (("eot_timeout_ms", "1e3"),),
    (("eot_timeout_ms", "-1"),),
    (("keyterm", ""),),
    (("keyterm", " "),),
    (("keyterm", "x" * 101),),
    tuple(("keyterm", str(n)) for n in range(101)),
    (("mip_opt_out", "yes"),),
    (("mip_opt_out", "True"),),
    (("tag", "x" * 129),),
    (("sample_rate", "16000"),),  # twice
    (("interim_results", "true"),),
    (("language", "en"),),
    (("punctuate", "true"),),
    (("version", "1"),),
]


@pytest.mark.parametrize("profile", ["deepgram", "workers-ai"])
def test_what_flux_takes_is_accepted(target: Target, profile: str) -> None:
    """All documented parameters at the edges of their ranges."""
    for query in GOOD[profile]:
        answer = knock(target(profile, *query), profile=profile)
        assert isinstance(answer, StreamParameters), (query, answer)
        assert answer.keyterms == tuple(value for name, value in query if name == "keyterm")


@pytest.mark.parametrize("query", BAD_BOTH, ids=lambda query: "&".join(query[0]))
def test_what_flux_refuses_is_refused(target: Target, query: tuple[tuple[str, str], ...]) -> None:
    """Out of range, malformed, twice, or from the older API: 400 in each profile's shape."""
    for profile, wanted in (("deepgram", "INVALID_QUERY_PARAMETER"), ("workers-ai", 5004)):
        status, body = refused(knock(target(profile, *query), profile=profile))
        assert (status, code(body)) == (400, wanted)


RAW = "encoding=linear16&sample_rate=16000"
LISTEN = f"/v2/listen?{RAW}&model="
REST = f"/client/v4/accounts/0123/ai/run/@cf/deepgram/flux?{RAW}"
GATEWAY = f"/v1/0123/home/workers-ai?{RAW}"
GATEWAY_MODEL = GATEWAY + "&model=@cf/deepgram/flux"
INPUTS: dict[str, object] = {"encoding": "linear16", "sample_rate": "16000"}
BINDING = binding(INPUTS)


@pytest.mark.parametrize(
    ("profile", "path", "status", "wanted"),
    [
        *(
            ("workers-ai", "/?" + query, 400, 5004)
            for query in (
                "",
                "encoding=linear16",
                "sample_rate=16000",
                "encoding=opus&sample_rate=16000",
                "encoding=linear16&sample_rate=11025",
                "encoding=linear16&sample_rate=16+kHz",
                # Workers AI documents a narrower threshold, and lacks what only Deepgram has.
                RAW + "&eot_threshold=0.95",
                RAW + "&model=flux-general-en",
                RAW + "&language_hint=en",
                RAW + "&numerals=true",
                RAW + "&redact=numbers",
            )
        ),
        ("deepgram", LISTEN + "flux-general-en&eot_threshold=0.95", None, None),
        ("deepgram", f"/v2/listen?{RAW}", 400, "INVALID_QUERY_PARAMETER"),
        ("deepgram", LISTEN + "nova-3", 403, "INSUFFICIENT_PERMISSIONS"),
        ("deepgram", f"{LISTEN}flux-general-en&version=1", 400, "INVALID_QUERY_PARAMETER"),
        # Language hints are the multilingual model's; refused in the other of Deepgram's shapes.
        (
            "deepgram",
            LISTEN + "flux-general-multi&language_hint=de&language_hint=pt-BR",
            None,
            None,
        ),
        ("deepgram", LISTEN + "flux-general-en&language_hint=en", 400, "INVALID_PARAMETER"),
        ("deepgram", LISTEN + "flux-general-multi&language_hint=xx", 400, "INVALID_PARAMETER"),
        ("deepgram", LISTEN + "flux-general-multi&language_hint=", 400, "INVALID_PARAMETER"),
        # One path; a prefix in front of it is a proxy's.
        ("deepgram", f"/v1/listen?{RAW}&model=flux-general-en", 404, "NOT_FOUND"),
        ("deepgram", f"/proxy{LISTEN}flux-general-en", None, None),
        # The gateway serves many models.
        ("workers-ai", GATEWAY_MODEL, None, None),
        ("workers-ai", GATEWAY, 400, 5007),
        ("workers-ai", GATEWAY + "&model=@cf/other", 400, 5007),
        # The binding's inputs are strings; its refusals have a shape of their own.
        ("workers-ai", binding({**INPUTS, "sample_rate": 16000}), 500, 5030),
        ("workers-ai", binding({**INPUTS, "mip_opt_out": True}), 500, 5030),
        ("workers-ai", binding({**INPUTS, "keyterm": [1]}), 500, 5030),
        ("workers-ai", binding({**INPUTS, "tag": ["a"]}), 500, 5030),
        ("workers-ai", binding({**INPUTS, "foo": "1"}), 400, 5004),
        ("workers-ai", binding({"encoding": "linear16"}), 400, 5004),
        ("workers-ai", binding(INPUTS, websocket=False), 400, 5004),
        ("workers-ai", "/run?version=3&body=%7B", 400, 5004),
        ("workers-ai", "/run?version=3&body=7", 400, 5004),
        ("workers-ai", "/run?version=2&body=%7B%7D", 400, 5004),
    ],
)
def test_requests(profile: str, path: str, status: int | None, wanted: object) -> None:
    """What each route needs, and how it is refused where that is missing; None: accepted."""
    answer = knock(path, profile=profile)
    if status is None:
        assert isinstance(answer, StreamParameters), answer
        return
    found, body = refused(answer)
    assert (found, code(body)) == (status, wanted)


@pytest.mark.parametrize(
    ("profile", "path", "name", "value", "ok"),
    [
        ("deepgram", LISTEN + "flux-general-en", "authorization", "Token secret", True),
        ("deepgram", LISTEN + "flux-general-en", "sec-websocket-protocol", "token, secret", True),
        ("deepgram", LISTEN + "flux-general-en", "authorization", "Bearer secret", False),
        ("deepgram", LISTEN + "flux-general-en", "authorization", "Token wrong", False),
        ("deepgram", LISTEN + "flux-general-en", "sec-websocket-protocol", "token, wrong", False),
        ("deepgram", LISTEN + "flux-general-en", "x-other", "secret", False),
        ("workers-ai", REST, "authorization", "Bearer secret", True),
        ("workers-ai", REST, "authorization", "Token secret", False),
        ("workers-ai", REST, "cf-aig-authorization", "Bearer secret", False),
        ("workers-ai", REST, "x-other", "secret", False),
        ("workers-ai", GATEWAY_MODEL, "cf-aig-authorization", "Bearer secret", True),
        ("workers-ai", GATEWAY_MODEL, "cf-aig-authorization", "secret", True),
        ("workers-ai", GATEWAY_MODEL, "authorization", "Bearer secret", False),
        ("workers-ai", BINDING, "x-other", "none", True),
    ],
)
def test_tokens(profile: str, path: str, name: str, value: str, ok: bool) -> None:
    """Each route has its header; a raw key after Bearer is none; a binding needs none."""
    answer = knock(path, {name: value}, profile=profile, token="secret")
    if ok:
        assert isinstance(answer, StreamParameters), answer
    else:
        status, body = refused(answer)
        assert status == 401
        assert code(body) == ("INVALID_AUTH" if profile == "deepgram" else 10000)


def test_deepgram_refusals_carry_their_headers(target: Target) -> None:
    """The request id and the error, also in headers."""
    answer = knock(target("deepgram", ("foo", "1")), profile="deepgram")
    assert isinstance(answer, Refusal)
    body = json.loads(answer.body)
    assert answer.headers["dg-request-id"] == body["request_id"]
    assert answer.headers["dg-error"] == body["err_msg"]
    assert body["err_msg"].startswith("Failed to deserialize query parameters: ")


def test_the_binding_s_other_models() -> None:
    """The header says which model is meant."""
    assert code(refused(knock(BINDING, {"cf-consn-model-id": "@cf/other"}))[1]) == 5007
    answer = knock(BINDING, {"cf-consn-model-id": "@cf/deepgram/flux"})
    assert isinstance(answer, StreamParameters)


def test_the_binding_s_inputs() -> None:
    """Strings, and an array of key terms."""
    inputs = {
        "encoding": "linear16",
        "sample_rate": "8000",
        "eot_threshold": "0.6",
        "keyterm": ["a b", "c"],
        "mip_opt_out": "true",
    }
    answer = knock(binding(inputs, gateway={"id": "home"}))
    assert isinstance(answer, StreamParameters)
    assert answer == StreamParameters(
        sample_rate=8000, eot_threshold=0.6, keyterms=("a b", "c"), mip_opt_out=True
    )
    answer = knock(binding({**inputs, "keyterm": "only one"}))
    assert isinstance(answer, StreamParameters)
    assert answer.keyterms == ("only one",)


def test_refusals_on_purpose_have_the_profile_s_shape() -> None:
    """Code and message where its own would be; a body and a location as given."""
    fault = Refuse(status=429, code="3036", message="used up")
    status, body = refused(refuse(fault, WORKERS_AI, "id"))
    assert (status, body["errors"]) == (429, [{"code": 3036, "message": "used up"}])
    fault = Refuse(status=402, code="ASR_PAYMENT_REQUIRED")
    status, body = refused(refuse(fault, DEEPGRAM, "id"))
    assert (status, body["err_code"], body["request_id"]) == (402, "ASR_PAYMENT_REQUIRED", "id")
    page = refuse(Refuse(status=302, body="<html>", location="https://login"), WORKERS_AI, "id")
    assert (page.body, page.headers["location"]) == (b"<html>", "https://login")
    assert page.headers["content-type"] == "text/html"
    assert refuse(Refuse(status=301, location="/x"), DEEPGRAM, "id").headers["location"] == "/x"


names = st.sampled_from(
    "encoding sample_rate model eot_threshold eager_eot_threshold eot_timeout_ms keyterm"
    " language_hint numerals mip_opt_out tag redact foo".split()
)
values = st.one_of(
    st.text(max_size=120),
    st.sampled_from(
        ["linear16", "16000", "flux-general-en", "flux-general-multi", "0.7", "700", "true", "en"]
    ),
)


@given(st.lists(st.tuples(names, values), max_size=8), st.sampled_from(["deepgram", "workers-ai"]))
def test_any_query_gets_an_answer(query: list[tuple[str, str]], profile: Any) -> None:
    """Parameters within the ranges, or one of the refusals; never another exception."""
    start = [("encoding", "linear16"), ("sample_rate", "16000")]
    for whole in (query, [*start, *query]):
        request = UpgradeRequest("/v2/listen?" + urlencode(whole))
        answer = decide(request, PROFILES[profile], request_id="id")
        if isinstance(answer, Refusal):
            assert refused(answer)[0] in (400, 403)
            assert all(value.isascii() and value.isprintable() for value in answer.headers.values())
            with pytest.raises(InvalidParameter, match=r"\w"):
                from_query(whole, PROFILES[profile])
        else:
            found = answer
            assert 0.5 <= found.eot_threshold <= 1.0
            assert 500 <= found.eot_timeout_ms <= 60000
            assert found.eager_eot_threshold is None or found.eager_eot_threshold >= 0.3
            assert all(term.strip() and len(term) <= 100 for term in found.keyterms)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(json_values | st.dictionaries(names, json_values | values))
def test_any_inputs_get_an_answer(inputs: Any) -> None:
    """The same for what a Worker may pass."""
    try:
        found = from_inputs(inputs, WORKERS_AI)
    except InvalidParameter:
        found = None
    assert found is None or found.sample_rate == 16000
