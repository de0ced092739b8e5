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
    Request,
    StreamParameters,
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
    request = Request(target, headers or {})
    return decide(request, PROFILES[profile], request_id="id", token=token)


def refused(answer: Decision) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of a refusal."""
    assert isinstance(answer, Refusal), answer
    return answer.status, json.loads(answer.body)


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
        terms = tuple(value for name, value in query if name == "keyterm")
        assert answer.keyterms == terms


@pytest.mark.parametrize("query", BAD_BOTH, ids=lambda query: "&".join(query[0]))
def test_what_flux_refuses_is_refused(target: Target, query: tuple[tuple[str, str], ...]) -> None:
    """Out of range, malformed, twice, or from the older API: 400 in each profile's shape."""
    status, body = refused(knock(target("deepgram", *query), profile="deepgram"))
    assert (status, body["err_code"]) == (400, "INVALID_QUERY_PARAMETER")
    assert body["err_msg"].startswith("Failed to deserialize query parameters: ")
    status, body = refused(knock(target("workers-ai", *query), profile="workers-ai"))
    assert (status, body["errors"][0]["code"], body["success"]) == (400, 5004, False)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"encoding": "linear16"},
        {"sample_rate": "16000"},
        {"encoding": "opus", "sample_rate": "16000"},
        {"encoding": "linear16", "sample_rate": "11025"},
        {"encoding": "linear16", "sample_rate": "16 kHz"},
    ],
)
def test_encoding_and_rate_are_required(query: dict[str, str]) -> None:
    """linear16 at one of Flux's rates."""
    assert refused(knock("/?" + urlencode(query), profile="workers-ai"))[0] == 400
    query = {"model": "flux-general-en", **query}
    assert refused(knock("/v2/listen?" + urlencode(query), profile="deepgram"))[0] == 400


def test_workers_ai_documents_a_narrower_threshold(target: Target) -> None:
    """0.9 is its limit, 1.0 Deepgram's."""
    wide = ("eot_threshold", "0.95")
    assert isinstance(knock(target("deepgram", wide), profile="deepgram"), StreamParameters)
    assert refused(knock(target("workers-ai", wide), profile="workers-ai"))[0] == 400


@pytest.mark.parametrize("name", ["model", "language_hint", "numerals", "redact"])
def test_workers_ai_lacks_what_only_deepgram_has(target: Target, name: str) -> None:
    """Undeclared names are refused."""
    assert refused(knock(target("workers-ai", (name, "true")), profile="workers-ai"))[0] == 400


def test_deepgram_refusals_carry_their_headers(target: Target) -> None:
    """The request id and the error, also in headers."""
    answer = knock(target("deepgram", ("foo", "1")), profile="deepgram")
    assert isinstance(answer, Refusal)
    body = json.loads(answer.body)
    assert answer.headers["dg-request-id"] == body["request_id"]
    assert answer.headers["dg-error"] == body["err_msg"]


def test_the_model_is_required_and_must_be_known() -> None:
    """Without it 400, with another 403."""
    rest = "encoding=linear16&sample_rate=16000"
    assert refused(knock(f"/v2/listen?{rest}", profile="deepgram"))[0] == 400
    answer = knock(f"/v2/listen?model=nova-3&{rest}", profile="deepgram")
    assert refused(answer)[1]["err_code"] == "INSUFFICIENT_PERMISSIONS"
    assert refused(answer)[0] == 403


def test_language_hints_are_the_multilingual_model_s() -> None:
    """The English model refuses them in the other of Deepgram's shapes."""
    base = "/v2/listen?encoding=linear16&sample_rate=16000&model=flux-general-"
    answer = knock(f"{base}multi&language_hint=de&language_hint=pt-BR", profile="deepgram")
    assert isinstance(answer, StreamParameters)
    assert answer.language_hints == ("de", "pt-BR")
    for rest in ("en&language_hint=en", "multi&language_hint=xx", "multi&language_hint="):
        status, body = refused(knock(base + rest, profile="deepgram"))
        assert (status, body["code"]) == (400, "INVALID_PARAMETER")
        assert body["description"]


def test_deepgram_has_one_path(target: Target) -> None:
    """Anything but /v2/listen is not found; a prefix in front of it is a proxy's."""
    rest = target("deepgram").partition("?")[2]
    assert refused(knock(f"/v1/listen?{rest}", profile="deepgram"))[0] == 404
    assert isinstance(knock(f"/proxy/v2/listen?{rest}", profile="deepgram"), StreamParameters)


@pytest.mark.parametrize(
    ("headers", "ok"),
    [
        ({"authorization": "Token secret"}, True),
        ({"sec-websocket-protocol": "token, secret"}, True),
        ({"authorization": "Bearer secret"}, False),
        ({"authorization": "Token wrong"}, False),
        ({"sec-websocket-protocol": "token, wrong"}, False),
        ({}, False),
    ],
)
def test_deepgram_s_keys(target: Target, headers: dict[str, str], ok: bool) -> None:
    """As Token, or as a subprotocol; a raw key after Bearer is none."""
    answer = knock(target("deepgram"), headers, profile="deepgram", token="secret")
    if ok:
        assert isinstance(answer, StreamParameters)
    else:
        assert refused(answer)[0] == 401
        assert refused(answer)[1]["err_code"] == "INVALID_AUTH"


REST = "/client/v4/accounts/0123/ai/run/@cf/deepgram/flux?encoding=linear16&sample_rate=16000"
GATEWAY = "/v1/0123/home/workers-ai?encoding=linear16&sample_rate=16000"
GATEWAY_MODEL = GATEWAY + "&model=@cf/deepgram/flux"


@pytest.mark.parametrize(
    ("path", "headers", "ok"),
    [
        (REST, {"authorization": "Bearer secret"}, True),
        (REST, {"authorization": "Token secret"}, False),
        (REST, {"cf-aig-authorization": "Bearer secret"}, False),
        (REST, {}, False),
        (GATEWAY_MODEL, {"cf-aig-authorization": "Bearer secret"}, True),
        (GATEWAY_MODEL, {"cf-aig-authorization": "secret"}, True),
        (GATEWAY_MODEL, {"authorization": "Bearer secret"}, False),
        (binding({"encoding": "linear16", "sample_rate": "16000"}), {}, True),
    ],
)
def test_cloudflare_s_tokens(path: str, headers: dict[str, str], ok: bool) -> None:
    """Each route has its header; a binding needs none."""
    answer = knock(path, headers, token="secret")
    if ok:
        assert isinstance(answer, StreamParameters), answer
    else:
        assert refused(answer)[0] == 401
        assert refused(answer)[1]["errors"][0]["code"] == 10000


def test_the_gateway_needs_the_model() -> None:
    """It serves many."""
    assert isinstance(knock(GATEWAY_MODEL), StreamParameters)
    assert refused(knock(GATEWAY))[1]["errors"][0]["code"] == 5007
    assert refused(knock(GATEWAY + "&model=@cf/other"))[0] == 400


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


@pytest.mark.parametrize(
    "wrong",
    [{"sample_rate": 16000}, {"mip_opt_out": True}, {"keyterm": [1]}, {"tag": ["a"]}],
)
def test_the_binding_s_numbers_are_an_error_of_its_own(wrong: dict[str, object]) -> None:
    """Anything but strings: 500 with AiError 5030."""
    inputs = {"encoding": "linear16", "sample_rate": "16000", **wrong}
    status, body = refused(knock(binding(inputs)))
    assert (status, body["internalCode"], body["name"]) == (500, 5030, "AiError")


@pytest.mark.parametrize(
    "path",
    [
        binding({"encoding": "linear16", "sample_rate": "16000", "foo": "1"}),
        binding({"encoding": "linear16"}),
        binding({"encoding": "linear16", "sample_rate": "16000"}, websocket=False),
        "/run?version=3&body=%7B",
        "/run?version=3&body=7",
        "/run?version=2&body=%7B%7D",
    ],
)
def test_the_binding_s_refusals(path: str) -> None:
    """Its own shape, with the code inside."""
    status, body = refused(knock(path))
    assert (status, body["internalCode"]) == (400, 5004)


def test_the_binding_s_other_models() -> None:
    """The header says which model is meant."""
    path = binding({"encoding": "linear16", "sample_rate": "16000"})
    assert refused(knock(path, {"cf-consn-model-id": "@cf/other"}))[1]["internalCode"] == 5007
    assert isinstance(knock(path, {"cf-consn-model-id": "@cf/deepgram/flux"}), StreamParameters)


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
        request = Request("/v2/listen?" + urlencode(whole))
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
