"""Putting the Worker into an account, played through without any I/O."""

import contextlib
import email.parser
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux import __version__
from wyoming_flux.cloudflare import (
    AccountNeeded,
    Deployed,
    DropToken,
    KeepToken,
    Pause,
    Plan,
    Reply,
    Request,
    Step,
    deploy,
)
from wyoming_flux.errors import (
    AuthFailed,
    InvalidSetting,
    PaymentRequired,
    QuotaExceeded,
    Refused,
    Unreachable,
    WyomingFluxError,
)

ROOT = Path(__file__).parents[3]
WRANGLER: dict[str, Any] = json.loads((Path(__file__).parent / "wrangler.json").read_text())
ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
SOURCE = b'"x-wyoming-flux-worker"; export default {};\r\n\xff'
TOKEN = bytes(range(32)).hex()
HEALTHY = Reply(200, json.dumps({"ok": True, "version": __version__}).encode())


def ok(result: Any) -> Reply:
    """An answer of the API with a result."""
    return Reply(200, json.dumps({"success": True, "errors": [], "result": result}).encode())


def failed(status: int, code: int, message: str = "as told") -> Reply:
    """An answer of the API with an error."""
    error = {"success": False, "errors": [{"code": code, "message": message}], "result": None}
    return Reply(status, json.dumps(error).encode())


@dataclass
class Played:
    """A script that was run against answers by the last word of each path."""

    answers: dict[str, Any] = field(default_factory=dict)
    """By method and end of the path: an answer, or a list of which each serves once."""
    steps: list[Step] = field(default_factory=list)

    USUAL = {  # noqa: RUF012 - never changed
        "GET /accounts": ok([{"id": ID, "name": "Home"}]),
        "GET /settings": failed(404, 10007),
        "GET /content/v2": Reply(200, b"export default {}"),
        "GET /workers/subdomain": ok({"subdomain": "someone"}),
        "PUT /flux": ok({"id": "x"}),
        "PUT /workers/subdomain": ok({"subdomain": "somebody"}),
        "POST /flux/subdomain": ok({"enabled": True}),
        "GET /health": HEALTHY,
    }

    def run(self, plan: Plan | None = None) -> Deployed:
        """Run it to its end."""
        script = deploy(plan or Plan(), SOURCE, lambda size: bytes(range(size)))
        answer: Reply | None = None
        try:
            while True:
                step = script.send(answer)
                self.steps.append(step)
                answer = self._answer(step) if isinstance(step, Request) else None
        except StopIteration as end:
            deployed: Deployed = end.value
            return deployed

    def _answer(self, request: Request) -> Reply:
        asked = f"{request.method} {urlsplit(request.url).path}"
        for some in (self.answers, self.USUAL):
            for key, answer in some.items():
                method, _, end = key.partition(" ")
                if asked.startswith(method) and asked.endswith(end):
                    given = answer.pop(0) if isinstance(answer, list) else answer
                    assert isinstance(given, Reply)
                    return given
        raise AssertionError(f"nobody expects {asked}")

    @property
    def requests(self) -> list[Request]:
        """What was asked."""
        return [step for step in self.steps if isinstance(step, Request)]

    @property
    def changes(self) -> list[str]:
        """What was changed, as method and end of the path."""
        return [
            f"{one.method} {urlsplit(one.url).path.partition('/workers/')[2]}"
            for one in self.requests
            if one.method != "GET"
        ]

    @property
    def upload(self) -> Request:
        """The request that carries the module."""
        (found,) = [one for one in self.requests if one.content_type.startswith("multipart")]
        return found


OURS = {
    "GET /settings": ok({"bindings": [{"name": "AI"}, {"name": "FLUX_TOKEN"}]}),
    "GET /content/v2": Reply(200, b'--x\r\n\r\nconst OURS = {"x-wyoming-flux-worker": VERSION}'),
}


def parts(request: Request) -> dict[str, tuple[list[str | None], bytes]]:
    """The parts of an upload, as the parser of the standard library reads them."""
    head = f"Content-Type: {request.content_type}\r\n\r\n".encode()
    form = email.parser.BytesParser().parsebytes(head + (request.body or b""))
    found = {}
    for part in form.get_payload():
        assert not isinstance(part, str)
        name = str(part.get_param("name", header="content-disposition"))
        kind = part.get_content_type() if "content-type" in part else None
        found[name] = ([part.get_filename(), kind], part.get_payload(decode=True))
    return found


def compared(request: Request) -> dict[str, Any]:
    """An upload in the form of the fixture."""
    form = parts(request)
    metadata = json.loads(form["metadata"][1].decode().replace(TOKEN, "TOKEN"))
    return {"metadata": metadata, "parts": {name: head for name, (head, _) in form.items()}}


@pytest.mark.parametrize(
    ("kind", "plan", "there"),
    [
        ("first", Plan(), {}),
        ("update", Plan(), OURS),
        ("new_token", Plan(new_token=True), OURS),
    ],
)
def test_uploads_what_wrangler_uploads(kind: str, plan: Plan, there: dict[str, Any]) -> None:
    """Metadata, bindings and parts are those that wrangler was seen to send."""
    played = Played(there)
    played.run(plan)
    assert compared(played.upload) == WRANGLER[kind]
    assert urlsplit(played.upload.url).query == WRANGLER["query"]
    address = next(one for one in played.requests if one.method == "POST")
    assert json.loads(address.body or b"") == WRANGLER["address"]


def test_first_time() -> None:
    """Account, Worker, address; the token is kept before it is uploaded."""
    played = Played()
    deployed = played.run()
    assert deployed == Deployed("https://flux.someone.workers.dev", ID, True, TOKEN, True, "")
    assert played.changes == ["PUT scripts/flux", "POST scripts/flux/subdomain"]
    assert played.steps.index(KeepToken(TOKEN)) < played.steps.index(played.upload)
    assert played.requests[-1].url == "https://flux.someone.workers.dev/health"


def test_update_keeps_the_token() -> None:
    """A Worker of ours that has a token keeps it, and no other is made."""
    played = Played(OURS)
    deployed = played.run()
    assert (deployed.created, deployed.token) == (False, None)
    assert not [step for step in played.steps if isinstance(step, KeepToken)]


def test_update_of_a_worker_without_token() -> None:
    """A Worker of ours that never got a token gets one, or it would let nobody in."""
    played = Played(OURS | {"GET /settings": ok({"bindings": [{"name": "AI", "type": "ai"}]})})
    assert played.run().token == TOKEN


@pytest.mark.parametrize(("text", "token"), [("true", None), ("false", TOKEN)])
def test_update_of_an_open_worker(text: str, token: str | None) -> None:
    """A Worker that lets everybody in, behind Cloudflare Access perhaps, goes on doing so."""
    variable = {"name": "ALLOW_ANONYMOUS", "type": "plain_text", "text": text}
    assert Played(OURS | {"GET /settings": ok({"bindings": [variable]})}).run().token == token


@pytest.mark.parametrize("code", [b"export default {}", b"", b"x" * 1000])
def test_foreign_worker(code: bytes) -> None:
    """Whatever it is bound to, a Worker with other code is left alone."""
    played = Played(OURS | {"GET /content/v2": Reply(200, code)})
    with pytest.raises(InvalidSetting, match="not ours") as caught:
        played.run(Plan(new_token=True))
    assert caught.value.name == "name"
    assert played.changes == []


def test_new_account() -> None:
    """The name at workers.dev is asked for before anything is changed, then registered first."""
    played = Played({"GET /workers/subdomain": failed(404, 10007)})
    with pytest.raises(InvalidSetting) as caught:
        played.run()
    assert caught.value.name == "subdomain"
    assert played.changes == []
    played.steps.clear()
    assert played.run(Plan(subdomain="somebody")).url == "https://flux.somebody.workers.dev"
    assert played.changes[0] == "PUT subdomain"
    assert json.loads(played.requests[3].body or b"") == {"subdomain": "somebody"}


def test_another_name_than_the_accounts() -> None:
    """A name for an account that has one already is an error, not without effect."""
    with pytest.raises(InvalidSetting, match=r"someone\.workers\.dev"):
        Played().run(Plan(subdomain="somebody"))
    assert Played().run(Plan(subdomain="someone")).answers


@pytest.mark.parametrize(
    "found", [[], [{"id": ID, "name": "A"}, {"id": OTHER, "name": "B\n"}], None]
)
def test_account_is_not_clear(found: Any) -> None:
    """None or several: it has to be given, and is used then without asking."""
    played = Played({"GET /accounts": ok(found)})
    with pytest.raises(AccountNeeded) as caught:
        played.run()
    assert [account.id for account in caught.value.accounts] == ([ID, OTHER] if found else [])
    assert "\n" not in str(caught.value)
    played.steps.clear()
    assert played.run(Plan(account_id=OTHER)).account_id == OTHER
    assert all(f"/{OTHER}/" in one.url for one in played.requests[:-1])


@pytest.mark.parametrize(
    ("where", "answer", "cause", "said"),
    [
        ("GET /accounts", failed(401, 10000, "Authentication error"), AuthFailed, "permissions"),
        ("GET /accounts", failed(400, 6003, "Invalid request headers"), AuthFailed, "know this"),
        ("GET /settings", failed(403, 9109, "Unauthorized"), AuthFailed, "Scripts: Edit"),
        ("GET /settings", Reply(403, b"<html>"), AuthFailed, "Scripts: Edit"),
        ("GET /settings", failed(404, 7003, "Could not route"), InvalidSetting, "no such account"),
        ("PUT /flux", failed(403, 10023, "unauthorized"), AuthFailed, "Scripts: Edit"),
        ("PUT /flux", failed(400, 10063, "subdomain_required"), InvalidSetting, "workers.dev"),
        ("PUT /flux", failed(403, 10034, "verify"), Refused, "e-mail address"),
        ("PUT /flux", failed(403, 10037, "limit of 100"), PaymentRequired, "plan allows"),
        ("PUT /flux", failed(403, 5016, "agreement"), Refused, "terms of Workers AI"),
        ("PUT /flux", failed(403, 99, "Accept the Terms first"), Refused, "terms of Workers AI"),
        ("PUT /flux", failed(403, 5035, "paid"), PaymentRequired, "pay"),
        ("PUT /flux", failed(429, 3036, "neurons"), QuotaExceeded, "00:00 UTC"),
        ("PUT /flux", failed(429, 971, "slow down"), Unreachable, "five minutes"),
        ("PUT /flux", failed(400, 10021, "SyntaxError: x"), Refused, "SyntaxError: x"),
        ("PUT /flux", Reply(500, b"oops"), Unreachable, "oops"),
        ("PUT /flux", Reply(0, b"no route to host"), Unreachable, "no route to host"),
        ("PUT /flux", Reply(302, b""), Refused, "HTTP 302"),
    ],
)
def test_what_cloudflare_refuses(
    where: str, answer: Reply, cause: type[WyomingFluxError], said: str
) -> None:
    """Each refusal is its cause, in one sentence that says what to do."""
    played = Played({where: answer})
    with pytest.raises(cause) as caught:
        played.run()
    assert type(caught.value) is cause
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "POST scripts/flux/subdomain" not in played.changes


@pytest.mark.parametrize(
    ("answers", "dropped"),
    [
        ({"PUT /flux": failed(403, 10023)}, True),
        ({"PUT /flux": Reply(502)}, False),
        ({"POST /flux/subdomain": failed(403, 10023)}, False),
        (OURS | {"PUT /flux": failed(403, 10023)}, False),
    ],
)
def test_token_that_was_not_uploaded(answers: dict[str, Any], dropped: bool) -> None:
    """A token is dropped only where it was kept, and the Worker certainly has not got it."""
    played = Played(answers)
    with pytest.raises(WyomingFluxError):
        played.run()
    assert (DropToken() in played.steps) == dropped


def test_name_is_taken() -> None:
    """A name that somebody else has can be chosen anew."""
    answers = {"GET /workers/subdomain": failed(404, 10007)}
    with pytest.raises(InvalidSetting, match="somebody else") as caught:
        Played(answers | {"PUT /workers/subdomain": failed(409, 10031)}).run(Plan(subdomain="a"))
    assert caught.value.name == "subdomain"


def test_passing_faults() -> None:
    """A fault of the network or of Cloudflare's is tried again, twice, with pauses."""
    played = Played({"PUT /flux": [Reply(0, b"reset"), Reply(502), ok({})]})
    assert played.run().answers
    assert [step for step in played.steps if isinstance(step, Pause)] == [Pause(1.0), Pause(3.0)]


def test_waits_for_the_new_version() -> None:
    """Neither an absent address nor the Worker of before is taken for the new one."""
    old = Reply(200, b'{"ok":true,"version":"0.0.1"}')
    absent = Reply(404, b"error code: 1042")
    closed = Reply(503, b'{"error":{}}')
    played = Played({"GET /health": [Reply(0, b"unknown name"), absent, closed, old, HEALTHY]})
    assert played.run().answers
    assert [one.api for one in played.requests[-5:]] == [False] * 5


@pytest.mark.parametrize(
    ("answers", "longest"),
    [({}, 120), ({"GET /workers/subdomain": failed(404, 10007)}, 330)],
)
def test_waiting_is_bounded(answers: dict[str, Any], longest: float) -> None:
    """A Worker that does not answer is reported as made, with what its address said."""
    played = Played(answers | {"GET /health": Reply(404, b"error code: 1042")})
    deployed = played.run(Plan(subdomain="somebody") if answers else Plan())
    assert (deployed.answers, deployed.token) == (False, TOKEN)
    assert deployed.said == "HTTP 404: error code: 1042"
    assert 60 < sum(step.seconds for step in played.steps if isinstance(step, Pause)) < longest


def test_nothing_secret_is_shown() -> None:
    """No repr holds the Worker's token, and the API token goes to Cloudflare's API alone."""
    played = Played()
    shown = repr(played.run()) + repr(played.steps)
    assert TOKEN not in shown
    for request in played.requests:
        host = urlsplit(request.url).hostname
        sent = "api-token" in str(request.headers("api-token"))
        assert sent == (host == "api.cloudflare.com")
        assert request.headers("x")["User-Agent"] == f"wyoming-flux/{__version__}"


def takes(body: bytes) -> None:
    """Give one answer after the other this body: it is taken, or is one of our errors."""
    for where in Played.USUAL:
        for status in (200, 400, 503):
            with contextlib.suppress(WyomingFluxError):
                Played({where: Reply(status, body)}).run(Plan(subdomain="somebody"))


@given(st.binary(max_size=300))
def test_any_bytes_have_an_end(body: bytes) -> None:
    """Whatever the bytes, an answer is taken or is one of our errors."""
    takes(body)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["errors", "result", "code", "id", "bindings", "error_chain", "name"]),
            inner,
            max_size=4,
        )
    ),
)


@given(ANYTHING)
def test_any_json_has_an_end(fields: Any) -> None:
    """Whatever the JSON, an answer is taken or is one of our errors."""
    takes(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"name": "Flux"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"name": "flux/../x"}, "name"),
        ({"subdomain": "-a"}, "subdomain"),
        ({"subdomain": "a.b"}, "subdomain"),
        ({"account_id": "me"}, "account_id"),
        ({"account_id": ID[:-1] + "/"}, "account_id"),
    ],
)
def test_what_cannot_be_planned(fields: dict[str, str], name: str) -> None:
    """A name that could not stand in an address or a path is refused at its field."""
    with pytest.raises(InvalidSetting) as caught:
        Plan(**fields)  # type: ignore[arg-type]
    assert caught.value.name == name
