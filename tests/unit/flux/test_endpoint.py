"""URLs and settings become requests: the four routes, and what a person can type wrong."""

import string
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.address import is_private_host
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Endpoint, Route
from wyoming_flux.flux.messages import CLOSE_STREAM, FORCE_END_TURN
from wyoming_flux.settings import FluxSettings

WORKERS_AI = "wss://api.cloudflare.com/client/v4/accounts/abc123/ai/run/@cf/deepgram/flux"
GATEWAY = "wss://gateway.ai.cloudflare.com/v1/abc123/home/workers-ai"
DEEPGRAM = "wss://api.deepgram.com/v2/listen"


@pytest.mark.parametrize(
    ("url", "route", "normalised"),
    [
        ("https://flux.me.workers.dev", "worker", "wss://flux.me.workers.dev/"),
        ("wss://flux.me.workers.dev/v2/listen/", "worker", "wss://flux.me.workers.dev/v2/listen"),
        ("WSS://Flux.Me.Workers.Dev:443", "worker", "wss://flux.me.workers.dev/"),
        ("http://127.0.0.1:8787", "worker", "ws://127.0.0.1:8787/"),
        ("ws://[::1]:8787", "worker", "ws://[::1]:8787/"),
        (" flux.me.workers.dev\n", "worker", "wss://flux.me.workers.dev/"),
        ("//flux.me.workers.dev/", "worker", "wss://flux.me.workers.dev/"),
        ("http://flux.me.workers.dev:80/", "worker", "wss://flux.me.workers.dev/"),
        ("localhost:8787", "worker", "ws://localhost:8787/"),
        ("192.168.1.2:8787/flux/", "worker", "ws://192.168.1.2:8787/flux"),
        ("http://nas:8787", "worker", "ws://nas:8787/"),
        ("http://nas.lan:8787", "worker", "ws://nas.lan:8787/"),
        (GATEWAY + "/@cf/deepgram/flux", "ai-gateway", GATEWAY),
        (GATEWAY + "?model=@cf/deepgram/flux", "ai-gateway", GATEWAY),
        (WORKERS_AI, "workers-ai", WORKERS_AI),
        (GATEWAY + "/", "ai-gateway", GATEWAY),
        ("https://api.deepgram.com", "deepgram", DEEPGRAM),
        ("wss://api.eu.deepgram.com/v2/listen", "deepgram", "wss://api.eu.deepgram.com/v2/listen"),
        ("wss://api.au.deepgram.com", "deepgram", "wss://api.au.deepgram.com/v2/listen"),
    ],
)
def test_the_host_decides_the_route(url: str, route: str, normalised: str) -> None:
    """Whatever a person pastes becomes one ws URL and its route."""
    endpoint = Endpoint.from_url(url)
    assert (endpoint.route, endpoint.url) == (route, normalised)


def test_route_can_be_forced() -> None:
    """A proxy or the simulator can stand for any route."""
    endpoint = Endpoint.from_url("ws://127.0.0.1:8787", route="deepgram")
    assert endpoint.route is Route.DEEPGRAM
    assert endpoint.url == "ws://127.0.0.1:8787/v2/listen"


def test_an_unknown_route() -> None:
    """A route that does not exist is named, with those that do."""
    with pytest.raises(InvalidSetting, match="workers-ai") as caught:
        Endpoint.from_url("wss://a.workers.dev", route="worker-ai")
    assert caught.value.name == "route"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "moon",
        "ftp://flux.me.workers.dev",
        "wss://",
        "wss://user:secret@flux.me.workers.dev",
        "wss://flux.me.workers.dev/?token=secret",
        "wss://flux.me.workers.dev/#x",
        "wss://flux.me.workers.dev:notaport",
        "wss://flux me.workers.dev",
        "wss://[::1",
        "wss://api.deepgram.com/v1/listen",
        "wss://api.cloudflare.com/client/v4/accounts/abc",
        "wss://gateway.ai.cloudflare.com/v1/abc123/home/deepgram",
    ],
)
def test_bad_urls(url: str) -> None:
    """A URL that cannot work is refused with one sentence, at the field of the URL."""
    with pytest.raises(InvalidSetting) as caught:
        Endpoint.from_url(url)
    assert caught.value.name == "worker_url"
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_endpoint_or_an_invalid_setting(text: str) -> None:
    """Nothing else is ever raised for what a person typed."""
    try:
        endpoint = Endpoint.from_url(text)
    except InvalidSetting:
        return
    assert endpoint.url.startswith(("ws://", "wss://"))


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("localhost", True),
        ("worker.local", True),
        ("127.0.0.1", True),
        ("192.168.1.5", True),
        ("10.1.2.3", True),
        ("::1", True),
        ("fd00::1", True),
        ("8.8.8.8", False),
        ("flux.me.workers.dev", False),
        ("localhost.example.com", False),
        ("127.0.0.1.nip.io", False),
    ],
)
def test_private_hosts(host: str, private: bool) -> None:
    """Only literal addresses of the home, localhost and .local count as private."""
    assert is_private_host(host) is private


def test_token_needs_encryption_in_public() -> None:
    """A token, or a header that may be one, goes unencrypted to private hosts alone."""
    Endpoint.from_url("ws://192.168.1.2:8787", token="secret")
    Endpoint.from_url("ws://flux.example.com")
    with pytest.raises(InvalidSetting, match="wss://"):
        Endpoint.from_url("ws://flux.example.com", token="secret")
    with pytest.raises(InvalidSetting, match="wss://"):
        Endpoint.from_url("ws://8.8.8.8", headers={"CF-Access-Client-Secret": "secret"})
    upgraded = Endpoint.from_url("http://8.8.8.8", headers={"CF-Access-Client-Secret": "secret"})
    assert upgraded.secure


@pytest.mark.parametrize("token", ["two words", "new\nline", "ünïcode"])
def test_bad_tokens(token: str) -> None:
    """A token that would break the header is refused, without being repeated."""
    with pytest.raises(InvalidSetting) as caught:
        Endpoint.from_url("wss://a.workers.dev", token=token)
    assert caught.value.name == "token"
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Key": "x"},
        {"Host": "x"},
        {"authorization": "Bearer x"},
        {"A B": "x"},
        {"X-Header": "a\r\nInjected: b"},
    ],
)
def test_bad_headers(headers: dict[str, str]) -> None:
    """Headers that would break or fake the handshake are refused."""
    with pytest.raises(InvalidSetting) as caught:
        Endpoint.from_url("wss://a.workers.dev", token="secret", headers=headers)
    assert caught.value.name == "headers"


@pytest.mark.parametrize(
    ("url", "header", "value", "model"),
    [
        ("wss://a.workers.dev", "Authorization", "Bearer t", None),
        (WORKERS_AI, "Authorization", "Bearer t", None),
        (GATEWAY, "cf-aig-authorization", "Bearer t", "@cf/deepgram/flux"),
        (DEEPGRAM, "Authorization", "Token t", "flux-general-en"),
    ],
)
def test_each_route_asks_in_its_own_way(
    url: str, header: str, value: str, model: str | None
) -> None:
    """Header and model parameter are those of the route."""
    endpoint = Endpoint.from_url(url, token="t")
    assert endpoint.request_headers() == {header: value}
    query = dict(parse_qsl(urlsplit(endpoint.request_url(FluxSettings())).query))
    assert query.get("model") == model
    assert query["encoding"] == "linear16"
    assert query["sample_rate"] == "16000"
    assert query["eot_timeout_ms"] == "2000"


def test_all_parameters() -> None:
    """Every setting arrives under Flux's own name; key terms are repeated, never joined."""
    settings = FluxSettings(
        sample_rate=8000,
        sensitivity="relaxed",
        eager_eot_threshold=0.4,
        eot_timeout_ms=1500,
        keyterms=("living room", "café, bar"),
        mip_opt_out=True,
        tag="home",
        model="flux-general-multi",
        language="nl",
    )
    endpoint = Endpoint.from_url(DEEPGRAM)
    assert parse_qsl(urlsplit(endpoint.request_url(settings)).query) == [
        ("model", "flux-general-multi"),
        ("encoding", "linear16"),
        ("sample_rate", "8000"),
        ("mip_opt_out", "true"),
        ("eot_threshold", "0.85"),
        ("eager_eot_threshold", "0.4"),
        ("eot_timeout_ms", "1500"),
        ("keyterm", "living room"),
        ("keyterm", "café, bar"),
        ("language_hint", "nl"),
        ("tag", "home"),
    ]
    everything = frozenset(endpoint.optional_parameters(settings))
    least = endpoint.request_url(settings, everything)
    assert [name for name, _ in parse_qsl(urlsplit(least).query)] == [
        "model",
        "encoding",
        "sample_rate",
        "mip_opt_out",
    ]
    some = endpoint.request_url(settings, frozenset({("keyterm", "living room")}))
    assert "living" not in some
    assert "caf%C3%A9" in some


def test_defaults_of_flux_are_not_sent() -> None:
    """What changes nothing cannot be refused: thresholds at Flux's own default stay at home."""
    endpoint = Endpoint.from_url("wss://a.workers.dev")
    assert endpoint.optional_parameters(FluxSettings(eot_timeout_ms=5000)) == []
    settings = FluxSettings(eot_threshold=0.71, eot_timeout_ms=4999)
    assert endpoint.optional_parameters(settings) == [
        ("eot_threshold", "0.71"),
        ("eot_timeout_ms", "4999"),
    ]


@pytest.mark.parametrize(
    ("url", "threshold", "warned"),
    [
        ("wss://a.workers.dev", 0.9, False),
        ("wss://a.workers.dev", 0.95, True),
        (WORKERS_AI, 1.0, True),
        (GATEWAY, 1.0, True),
        (DEEPGRAM, 1.0, False),
    ],
)
def test_advice_about_the_threshold(url: str, threshold: float, warned: bool) -> None:
    """Cloudflare documents less than Deepgram allows: that is said, and not forbidden."""
    endpoint = Endpoint.from_url(url)
    settings = FluxSettings(eot_threshold=threshold)
    endpoint.check(settings)
    advice = endpoint.advice(settings)
    assert (advice is not None) is warned
    assert advice is None or f"{threshold:g}" in advice


def test_controls_that_may_flush() -> None:
    """ForceEndTurn was announced for Deepgram's hosts alone; Keepalive and Finalize for none."""
    assert Endpoint.from_url(DEEPGRAM).controls == (FORCE_END_TURN, CLOSE_STREAM)
    for url in ("wss://a.workers.dev", WORKERS_AI, GATEWAY):
        assert Endpoint.from_url(url).controls == (CLOSE_STREAM,)


def test_both_ways_to_authorise_at_a_gateway() -> None:
    """A gateway's token can have the token of Workers AI beside it, or come bare in a header."""
    both = Endpoint.from_url(GATEWAY, token="gate", headers={"Authorization": "Bearer work"})
    assert both.request_headers() == {
        "Authorization": "Bearer work",
        "cf-aig-authorization": "Bearer gate",
    }
    bare = Endpoint.from_url(GATEWAY, headers={"cf-aig-authorization": "gate"})
    assert bare.request_headers() == {"cf-aig-authorization": "gate"}


def test_what_is_repeated_is_hidden() -> None:
    """Neither the token nor a header, nor the token in a header, gets out by way of an answer."""
    endpoint = Endpoint.from_url(
        GATEWAY, token="gate-token", headers={"Authorization": "Bearer work-token"}
    )
    said = endpoint.hide("gate-token, Bearer work-token, work-token")
    assert "gate" not in said
    assert "work" not in said


one_line = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)


@given(st.lists((one_line | st.text(string.punctuation)).filter(str.strip), max_size=20))
def test_key_terms_survive_the_url(terms: list[str]) -> None:
    """Whatever a key term contains, the other side reads it as it was."""
    settings = FluxSettings(keyterms=tuple(terms))
    url = Endpoint.from_url("wss://a.workers.dev").request_url(settings)
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert [value for name, value in query if name == "keyterm"] == terms


def test_the_model_needs_its_route() -> None:
    """Cloudflare has the English model alone, and that is said before connecting."""
    settings = FluxSettings(model="flux-general-multi")
    Endpoint.from_url(DEEPGRAM).check(settings)
    with pytest.raises(InvalidSetting, match="Deepgram"):
        Endpoint.from_url("wss://a.workers.dev").check(settings)


def test_languages_follow_from_the_model() -> None:
    """The English model announces English alone, the other its ten languages."""
    english = Endpoint.languages("flux-general-en")
    assert {tag.partition("-")[0] for tag in english} == {"en"}
    assert len({tag.partition("-")[0] for tag in Endpoint.languages("flux-general-multi")}) == 10


@pytest.mark.parametrize(
    "url",
    [
        "https://flux.<account>.workers.dev",
        "https://flux.%3Caccount%3E.workers.dev",
        "https://flux.ACCOUNT.workers.dev",
        "wss://name.account.workers.dev",
        "https://{name}.me.workers.dev",
        "https://gateway.ai.cloudflare.com/v1/<account id>/<gateway>/workers-ai",
    ],
)
def test_placeholders_are_no_urls(url: str) -> None:
    """Who copies a line of the documentation as it is gets to know it before anything is sent."""
    with pytest.raises(InvalidSetting, match="only stands for yours") as caught:
        Endpoint.from_url(url)
    assert caught.value.name == "worker_url"


@pytest.mark.parametrize(
    ("model", "language", "known"),
    [
        ("flux-general-en", "en-GB", True),
        ("flux-general-en", "en_US", True),
        ("flux-general-en", "de", False),
        ("flux-general-multi", "de-LU", True),
        ("flux-general-multi", "fi", False),
    ],
)
def test_a_language_that_the_model_does_not_know(model: Any, language: str, known: bool) -> None:
    """It is refused before a connection is made, with those that the model knows."""
    settings = FluxSettings(model=model, language=language)
    if known:
        Endpoint.from_url(DEEPGRAM).check(settings)
        return
    with pytest.raises(InvalidSetting, match=f"does not know the language '{language}'") as caught:
        Endpoint.from_url(DEEPGRAM).check(settings)
    assert caught.value.name == "language"


@pytest.mark.parametrize(
    ("url", "given", "open_to_all"),
    [
        ("wss://a.workers.dev", {}, True),
        ("wss://a.workers.dev", {"token": "secret"}, False),
        ("wss://a.workers.dev", {"headers": {"CF-Access-Client-Id": "x"}}, False),
        ("ws://192.168.1.7:8787", {}, False),
        ("ws://localhost:8787", {}, False),
    ],
)
def test_a_public_host_without_a_token(url: str, given: Any, open_to_all: bool) -> None:
    """Only what is sent without any proof to a host that everybody can reach is open to all."""
    assert Endpoint.from_url(url, **given).open_to_all is open_to_all
