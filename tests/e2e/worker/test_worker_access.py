"""Whom the shipped Worker lets in, and what it tells everybody else."""

from typing import TYPE_CHECKING

import pytest

from tests.e2e.worker.conftest import upgrade_headers
from wyoming_flux import __version__

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import FarEnd, StartWorker, Workerd

SECRET = "correct-horse-battery-staple"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET[:-1]}",
        f"Bearer {SECRET.upper()}",
        f"Bearer {SECRET} {SECRET}",
        f"Token {SECRET}",
        f"Basic {SECRET}",
        SECRET,
        "Bearer " + "x" * 8000,
    ],
)
async def test_wrong_token(worker: "Workerd", far_end: "FarEnd", authorization: str | None) -> None:
    """Without exactly the token nobody gets further, whatever the parameters; nothing is spent."""
    given = {} if authorization is None else {"Authorization": authorization}
    answer = await worker.get(f"/?keyterm=&token={SECRET}", upgrade_headers(None) | given)
    assert answer.status == 401
    assert answer.error["source"] == "worker"
    assert answer.error["code"] == "unauthorized"
    assert "FLUX_TOKEN" in answer.error["message"]
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not far_end.requests


@pytest.mark.parametrize("authorization", [f"Bearer {SECRET}", f"bearer  {SECRET} "])
async def test_right_token(worker: "Workerd", authorization: str) -> None:
    """The scheme's case and spaces around the token do not matter."""
    headers = {"Authorization": authorization}
    async with worker.connect(headers=headers) as websocket:
        await websocket.send(b"\x01\x00")
        assert await websocket.recv() == b"\x01\x00"


async def test_secret_with_a_line_end(start_worker: "StartWorker", far_end: "FarEnd") -> None:
    """A secret that was piped in with its line end is the same secret."""
    worker = await start_worker(far_end.port, FLUX_TOKEN=SECRET + "\n")
    async with worker.connect():
        pass
    assert len(far_end.requests) == 1


@pytest.mark.parametrize("env", [{}, {"FLUX_TOKEN": " \n"}, {"ALLOW_ANONYMOUS": "yes"}])
async def test_closed_until_a_token_is_set(
    start_worker: "StartWorker", far_end: "FarEnd", env: dict[str, str]
) -> None:
    """A Worker without a token lets nobody in, and says which command sets one."""
    worker = await start_worker(far_end.port, **env)
    for answer in (
        await worker.upgrade(),
        await worker.upgrade(token=""),
        await worker.get("/health"),
    ):
        assert answer.status == 503
        assert answer.error["code"] == "not-configured"
        assert "npx wrangler secret put FLUX_TOKEN" in answer.error["message"]
    assert not far_end.requests


async def test_anonymous_when_told(start_worker: "StartWorker", far_end: "FarEnd") -> None:
    """ALLOW_ANONYMOUS=true opens a Worker without a token, and /health says so."""
    worker = await start_worker(far_end.port, ALLOW_ANONYMOUS="true")
    assert (await worker.get("/health")).body["auth"] == "none"
    assert (await worker.upgrade(token=None)).status == 101


async def test_token_counts_also_when_anonymous(
    start_worker: "StartWorker", far_end: "FarEnd"
) -> None:
    """A token that is set is asked for, even if ALLOW_ANONYMOUS was forgotten at true."""
    worker = await start_worker(far_end.port, ALLOW_ANONYMOUS="true", FLUX_TOKEN=SECRET)
    assert (await worker.upgrade(token=None)).status == 401
    assert (await worker.upgrade()).status == 101


async def test_health(worker: "Workerd", far_end: "FarEnd") -> None:
    """/health tells anybody version, model and kind of access, and asks Workers AI nothing."""
    answer = await worker.get("/health")
    assert answer.status == 200
    assert answer.body == {
        "ok": True,
        "version": __version__,
        "model": "@cf/deepgram/flux",
        "auth": "bearer",
    }
    assert answer.headers["x-wyoming-flux-worker"] == __version__
    assert answer.headers["cache-control"] == "no-store"
    assert not far_end.requests


@pytest.mark.parametrize(
    ("method", "path", "upgrade", "status", "code"),
    [
        ("GET", "/", False, 426, "upgrade-required"),
        ("GET", "/v2/listen?keyterm=", False, 426, "upgrade-required"),
        ("GET", "/v1/listen", True, 404, "not-found"),
        ("GET", "/favicon.ico", False, 404, "not-found"),
        ("GET", "//", True, 404, "not-found"),
        ("GET", "/health/", False, 404, "not-found"),
        ("POST", "/", False, 405, "method-not-allowed"),
        ("OPTIONS", "/v2/listen", False, 405, "method-not-allowed"),
        ("DELETE", "/health", False, 405, "method-not-allowed"),
    ],
)
async def test_everything_else(
    worker: "Workerd",
    far_end: "FarEnd",
    method: str,
    path: str,
    upgrade: bool,
    status: int,
    code: str,
) -> None:
    """What is no request for a socket gets JSON that says what to do, and no CORS."""
    headers = {"Authorization": f"Bearer {SECRET}", "Origin": "https://example.org"}
    headers |= upgrade_headers(None) if upgrade else {}
    answer = await worker.get(path, headers, method)
    assert answer.status == status
    assert answer.error["code"] == code
    assert answer.error["source"] == "worker"
    assert answer.error["message"].endswith(".")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-wyoming-flux-worker"] == __version__
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert not far_end.requests


async def test_rate_limit(start_worker: "StartWorker", far_end: "FarEnd") -> None:
    """Past the limit the answer is 429; clients without the token do not use the limit up."""
    worker = await start_worker(far_end.port, FLUX_TOKEN=SECRET, LIMIT="2")
    for _ in range(2):
        assert (await worker.upgrade(token="wrong")).status == 401
    assert (await worker.upgrade()).status == 101
    assert (await worker.upgrade()).status == 101
    answer = await worker.upgrade()
    assert answer.status == 429
    assert answer.error["code"] == "rate-limited"
    assert answer.headers["retry-after"] == "10"
    assert len(far_end.requests) == 2


async def test_wrong_tokens_are_limited_by_address(
    start_worker: "StartWorker", far_end: "FarEnd"
) -> None:
    """A typing error is a 401; who goes on guessing gets 429, and keeps nobody else out."""
    worker = await start_worker(far_end.port, FLUX_TOKEN=SECRET, LIMIT="2")
    guesser = {**upgrade_headers("guess"), "cf-connecting-ip": "192.0.2.1"}
    statuses = [(await worker.get("/", guesser)).status for _ in range(3)]
    assert statuses == [401, 401, 429]
    answer = await worker.get("/", guesser)
    assert answer.error["code"] == "rate-limited"
    assert "wrong tokens" in answer.error["message"]
    neighbour = {**upgrade_headers("guess"), "cf-connecting-ip": "192.0.2.2"}
    assert (await worker.get("/", neighbour)).status == 401
    right = {**upgrade_headers(SECRET), "cf-connecting-ip": "192.0.2.1"}
    assert (await worker.get("/", right)).status == 101


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "token"])
async def test_both_schemes_where_deepgrams_clients_ask(worker: "Workerd", scheme: str) -> None:
    """At Deepgram's own path the token may also be given as Deepgram's clients give it."""
    headers = upgrade_headers(None)
    answer = await worker.get("/v2/listen", {**headers, "Authorization": f"{scheme} {SECRET}"})
    assert answer.status == 101
    wrong = await worker.get("/v2/listen", {**headers, "Authorization": f"{scheme} {SECRET}x"})
    assert wrong.status == 401


async def test_pasted_without_its_binding(start_worker: "StartWorker", far_end: "FarEnd") -> None:
    """A Worker that was pasted into the editor without Workers AI says what is missing."""
    worker = await start_worker(far_end.port, config="pasted", FLUX_TOKEN=SECRET)
    for answer in (await worker.get("/health"), await worker.upgrade()):
        assert answer.status == 503
        assert answer.error["code"] == "not-configured"
        assert "binding" in answer.error["message"]


async def test_nothing_private_is_logged(worker: "Workerd", far_end: "FarEnd") -> None:
    """No token, query string, key term or upstream text appears in what the Worker prints."""
    far_end.refusal = (400, '{"errors":[{"code":5004,"message":"bad keyterm Rosalind"}]}', {})
    await worker.upgrade("/?keyterm=Rosalind")
    await worker.upgrade("/?keyterm=Rosalind&eot_threshold=7")
    await worker.upgrade("/?keyterm=Rosalind", token="WrongToken")
    await worker.stop()
    assert '"code":"5004"' in worker.log
    for private in ("Rosalind", SECRET, "WrongToken", "keyterm"):
        assert private not in worker.log
