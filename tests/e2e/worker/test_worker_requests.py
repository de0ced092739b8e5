"""What the shipped Worker asks Workers AI for, whatever it is asked for."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wyoming_flux import __version__
from wyoming_flux.declare import settings_of
from wyoming_flux.flux import Endpoint
from wyoming_flux.keyterms import merge
from wyoming_flux.settings import SAMPLE_RATES, FluxSettings

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import FarEnd, StartWorker, Workerd

SECRET = "correct-horse-battery-staple"


async def test_defaults(worker: "Workerd", far_end: "FarEnd") -> None:
    """Without parameters Flux is asked for 16 kHz linear16, in the form that the binding uses."""
    async with worker.connect() as websocket:
        await websocket.send("hello")
        assert await websocket.recv() == "hello"
    request = far_end.requests[0]
    assert urlsplit(request.path).path == "/run"
    assert parse_qs(urlsplit(request.path).query)["version"] == ["3"]
    assert request.headers["cf-consn-model-id"] == "@cf/deepgram/flux"
    assert far_end.body() == {
        "inputs": {"encoding": "linear16", "sample_rate": "16000"},
        "options": {"websocket": True},
    }


async def test_every_parameter_arrives_as_text(worker: "Workerd", far_end: "FarEnd") -> None:
    """Each parameter of the model page arrives at Workers AI, numbers as text, unknown ones not."""
    query = urlencode(
        [
            ("model", "flux-general-en"),
            ("encoding", "linear16"),
            ("sample_rate", "48000"),
            ("eot_threshold", "1"),
            ("eager_eot_threshold", "0.45"),
            ("eot_timeout_ms", "60000"),
            ("keyterm", "Anaïs, 客厅 & café; 50% = +1"),
            ("mip_opt_out", "true"),
            ("tag", "home"),
            ("language_hint", "en-GB"),
            ("numerals", "true"),
            ("__proto__", "x"),
        ],
        quote_via=quote,
    )
    async with worker.connect(f"v2/listen?{query}"):
        pass
    assert far_end.inputs() == {
        "encoding": "linear16",
        "sample_rate": "48000",
        "eot_threshold": "1",
        "eager_eot_threshold": "0.45",
        "eot_timeout_ms": "60000",
        "keyterm": "Anaïs, 客厅 & café; 50% = +1",
        "mip_opt_out": "true",
        "tag": "home",
    }


async def test_token_and_headers_stay_in_the_worker(worker: "Workerd", far_end: "FarEnd") -> None:
    """The client's token, cookies and other headers do not reach Workers AI."""
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": "a=b", "CF-Access-Client-Id": "id"}
    async with worker.connect(headers=headers):
        pass
    arrived = far_end.requests[0].headers
    assert SECRET not in repr(list(arrived.raw_items()))
    assert not {"authorization", "cookie", "cf-access-client-id"} & {key.lower() for key in arrived}


async def test_gateway(start_worker: "StartWorker", far_end: "FarEnd") -> None:
    """With AI_GATEWAY_ID the connection is asked for through that gateway."""
    worker = await start_worker(far_end.port, FLUX_TOKEN=SECRET, AI_GATEWAY_ID=" home ")
    async with worker.connect():
        pass
    assert far_end.body()["options"] == {"websocket": True, "gateway": {"id": "home"}}


async def test_headers_of_the_socket(worker: "Workerd", far_end: "FarEnd") -> None:
    """The 101 says which Worker and model answer, and what Cloudflare calls the request."""
    far_end.headers = {"cf-ai-req-id": "req-7", "Set-Cookie": "a=b"}
    async with worker.connect() as websocket:
        assert websocket.response is not None
        headers = websocket.response.headers
    assert headers["x-wyoming-flux-worker"] == __version__
    assert headers["x-wyoming-flux-model"] == "@cf/deepgram/flux"
    assert headers["cf-ai-req-id"] == "req-7"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("encoding=opus", "encoding"),
        ("encoding=", "encoding"),
        ("sample_rate=22050", "sample_rate"),
        ("sample_rate=16000.0", "sample_rate"),
        ("sample_rate=16000&sample_rate=16000", "sample_rate"),
        ("eot_threshold=0.49", "eot_threshold"),
        ("eot_threshold=1.01", "eot_threshold"),
        ("eot_threshold=NaN", "eot_threshold"),
        ("eot_threshold=7e-1", "eot_threshold"),
        ("eot_threshold=%200.7", "eot_threshold"),
        ("eager_eot_threshold=0.2", "eager_eot_threshold"),
        ("eager_eot_threshold=0.8", "eager_eot_threshold"),
        ("eot_threshold=0.6&eager_eot_threshold=0.65", "eager_eot_threshold"),
        ("eot_timeout_ms=499", "eot_timeout_ms"),
        ("eot_timeout_ms=60001", "eot_timeout_ms"),
        ("eot_timeout_ms=1e3", "eot_timeout_ms"),
        ("eot_timeout_ms=-1000", "eot_timeout_ms"),
        ("mip_opt_out=True", "mip_opt_out"),
        ("mip_opt_out=1", "mip_opt_out"),
        ("model=flux-general-multi", "model"),
        ("model=nova-3", "model"),
        ("model=flux-general-en&model=flux-general-en", "model"),
        ("language_hint=de", "language_hint"),
        ("language_hint=en&language_hint=fr", "language_hint"),
        ("language_hint=end", "language_hint"),
        ("redact=pii", "redact"),
        ("tag=", "tag"),
        ("tag=a&tag=b", "tag"),
        ("tag=" + "x" * 129, "tag"),
        ("keyterm=", "keyterm"),
        ("keyterm=%20", "keyterm"),
        ("keyterm=lamp&keyterm=", "keyterm"),
        ("keyterm=" + "x" * 101, "keyterm"),
        ("keyterm=a%00b", "keyterm"),
        ("keyterm=a%0D%0Ab", "keyterm"),
        ("keyterm=%FF%FE", "keyterm"),
        ("keyterm=%ED%A0%80", "keyterm"),
        ("&".join(["keyterm=a"] * 101), "keyterm"),
        ("&".join(["keyterm=" + quote("客" * 30)] * 50), "keyterm"),
    ],
)
async def test_malformed_parameters(
    worker: "Workerd", far_end: "FarEnd", query: str, parameter: str
) -> None:
    """A value that Flux cannot take is refused with a sentence naming the parameter, at no cost."""
    answer = await worker.upgrade("/?" + query)
    assert answer.status == 400
    assert answer.error["code"] == "invalid-parameter"
    assert answer.error["source"] == "worker"
    assert answer.error["parameter"] == parameter
    assert answer.error["message"].startswith(f"The parameter {parameter} ")
    assert not far_end.requests


async def test_characters_are_counted_as_a_person_counts(
    worker: "Workerd", far_end: "FarEnd"
) -> None:
    """A hundred characters beyond the basic plane are a hundred characters."""
    term = "🏠" * 100
    async with worker.connect("?" + urlencode({"keyterm": term})):
        pass
    assert far_end.inputs()["keyterm"] == term


@pytest.mark.parametrize(
    "query",
    ["", "?", "&&&", "=", "%", "%zz=%", "+=+", "sample%5Frate=8000", "a" * 4000, "KEYTERM=", "?=1"],
)
async def test_meaningless_queries(worker: "Workerd", far_end: "FarEnd", query: str) -> None:
    """A query that names nothing known connects with the defaults, or with what it does name."""
    answer = await worker.upgrade("/?" + query)
    assert answer.status == 101
    assert set(far_end.inputs()) == {"encoding", "sample_rate"}


async def test_any_query_is_answered(worker: "Workerd", far_end: "FarEnd") -> None:
    """Whatever the query, the answer is a socket or a refusal that names a parameter."""
    known = ["encoding", "sample_rate", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms"]
    known += ["mip_opt_out", "keyterm", "tag", "model", "language_hint", "redact"]
    values = st.text(max_size=20) | st.sampled_from(["0.7", "16000", "1000", "true", "linear16"])
    pairs = st.lists(st.tuples(st.sampled_from(known) | st.text(max_size=8), values), max_size=6)
    # What RFC 3986 lets stand in a query; on other characters the runtime itself says no.
    noise = st.text(st.sampled_from("abz09-._~!$&'()*+,;=:@/?%"), max_size=60)
    loop = asyncio.get_running_loop()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(pairs.map(lambda some: urlencode(some, errors="replace")) | noise)
    def check(query: str) -> None:
        answer = asyncio.run_coroutine_threadsafe(worker.upgrade("/?" + query), loop).result(10)
        if answer.status == 101:
            assert far_end.inputs()["encoding"] == "linear16"
            assert all(isinstance(v, str | list) for v in far_end.inputs().values())
        else:
            assert answer.status == 400
            assert answer.error["parameter"] in known

    await asyncio.to_thread(check)


PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)


@st.composite
def flux_settings(draw: st.DrawFn) -> FluxSettings:
    """Draw settings over their whole ranges, with key terms as our own cleaning leaves them."""

    def within(limits: tuple[float, float]) -> float | None:
        return draw(
            st.none() | st.sampled_from(limits) | st.floats(*limits).map(lambda x: round(x, 3))
        )

    known = settings_of(FluxSettings)
    eot = within(known["eot_threshold"].limits)
    eager = within(known["eager_eot_threshold"].limits)
    if eager is not None and eager > (0.7 if eot is None else eot):
        eager = None
    return FluxSettings(
        sample_rate=draw(st.sampled_from(SAMPLE_RATES)),
        eot_threshold=eot,
        eager_eot_threshold=eager,
        eot_timeout_ms=draw(st.none() | st.integers(*known["eot_timeout_ms"].limits)),
        keyterms=merge(draw(st.lists(st.text(max_size=120), max_size=120))).terms,
        mip_opt_out=draw(st.booleans()),
        tag=draw(st.none() | PRINTABLE.map(lambda text: text[: known["tag"].longest])),
    )


async def test_all_that_the_settings_take(worker: "Workerd", far_end: "FarEnd") -> None:
    """Whatever can be set is accepted by the Worker and arrives as it was set."""
    loop = asyncio.get_running_loop()
    endpoint = Endpoint.from_url(worker.url)

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(flux_settings())
    def check(chosen: FluxSettings) -> None:
        url = urlsplit(endpoint.request_url(chosen))
        upgrade = worker.upgrade(f"{url.path}?{url.query}")
        answer = asyncio.run_coroutine_threadsafe(upgrade, loop).result(10)
        assert answer.status == 101, answer.body
        inputs = far_end.inputs()
        assert int(inputs["sample_rate"]) == chosen.sample_rate
        # Flux's own defaults are not sent.
        assert float(inputs.get("eot_threshold", 0.7)) == chosen.effective_eot_threshold
        assert int(inputs.get("eot_timeout_ms", 5000)) == chosen.effective_eot_timeout_ms
        eager = inputs.get("eager_eot_threshold")
        assert (None if eager is None else float(eager)) == chosen.eager_eot_threshold
        terms = inputs.get("keyterm", [])
        assert tuple([terms] if isinstance(terms, str) else terms) == chosen.keyterms
        assert inputs.get("mip_opt_out") == ("true" if chosen.mip_opt_out else None)
        assert inputs.get("tag") == chosen.tag

    await asyncio.to_thread(check)
