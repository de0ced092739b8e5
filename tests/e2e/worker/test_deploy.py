"""`wyoming-flux deploy` as a process, against an account on this machine."""

import asyncio
import json
import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from tests.e2e.worker.account import ID, PREFIX, Account, upload
from tests.e2e.worker.conftest import API_TOKEN
from tests.support.workers_dev import Uploaded
from wyoming_flux import __version__

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import FarEnd, StartWorker, Workerd

Ours = Callable[..., Any]


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Wait for the end; return exit code, output and complaints."""
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def until(stream: asyncio.StreamReader, text: bytes) -> bytes:
    """Read up to a text."""
    async with asyncio.timeout(30):
        return await stream.readuntil(text)


async def test_deployed_for_real(
    account: Account,
    ours: Ours,
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
    assert "Its token stays" in out
    assert path.read_text().strip() == token
    assert upload(account.changes[3:]).parts["metadata"][2].find(b"FLUX_TOKEN") == -1
    # A new token does not overwrite the file of the old one, and nothing is uploaded.
    changed = len(account.changes)
    code, _, err = await ended(await ours("--token-file", "token", "--new-token"))
    assert code == 2
    assert "is there already" in err
    assert len(account.changes) == changed
    assert path.read_text().strip() == token


BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("called", "path", "shown"),
    [
        ((sys.executable, "-S", "-m", "wyoming_flux"), "/usr/bin", None),
        ((f"{BIN}/wyoming-flux",), "/usr/bin", f"{BIN}/wyoming-flux"),
        ((f"{BIN}/wyoming-flux",), str(BIN), "wyoming-flux"),
    ],
    ids=["a copy", "an environment", "installed"],
)
async def test_what_comes_next(
    account: Account, ours: Ours, called: tuple[str, ...], path: str, shown: str | None
) -> None:
    """A copy deploys with nothing installed; what is shown as the next command can be typed."""
    async with Uploaded(account) as worker:
        account.worker_port = worker.port
        env = {"PATH": path, "CLOUDFLARE_API_TOKEN": API_TOKEN}
        code, out, err = await ended(await ours(called=called, **env))
    assert (code, err) == (0, "")
    found = re.search(r"(?m)^  (\S+) check --worker-url https://flux\.someone\.workers\.dev ", out)
    assert (found and found[1]) == shown


async def test_foreign_worker_is_left_alone(account: Account, ours: Ours) -> None:
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


async def test_new_account_without_a_name(account: Account, ours: Ours) -> None:
    """Where nobody can be asked, the missing name is an error that names its option."""
    account.subdomain = None
    code, _, err = await ended(await ours())
    assert code == 2
    assert "--subdomain" in err
    assert account.changes == []


async def test_asks_on_a_terminal(account: Account, ours: Ours, tmp_path: Path) -> None:
    """API token and name are asked for where somebody is, the token without showing it."""
    account.subdomain = None
    ours_end, theirs = pty.openpty()
    try:
        process = await ours(stdin=theirs)
        assert await until(process.stderr, b"API token: ")
        os.write(ours_end, f"{API_TOKEN}\n".encode())
        out = await until(process.stdout, b"stop): ")
        os.write(ours_end, b"Not Good\n")
        out += await until(process.stdout, b"stop): ")
        os.write(ours_end, b"someone\n")
        # Not the end, for nothing answers at workers.dev here, but all that is asked before.
        await asyncio.to_thread(account.wait_for, lambda: len(account.changes) == 3)
        process.kill()
        out += (await process.communicate())[0]
        shown = os.read(ours_end, 4096)
    finally:
        os.close(theirs)
        os.close(ours_end)
    assert b"https://dash.cloudflare.com/profile/api-tokens?permissionGroupKeys=" in out
    assert b"small letters, digits and hyphens" in out
    assert API_TOKEN.encode() not in out + shown
    assert account.subdomain == "someone"
    assert {one.headers["authorization"] for one in account.asked} == {f"Bearer {API_TOKEN}"}
    assert b"someone" in shown
    assert (tmp_path / "flux-token.txt").exists()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"X": ""}, "permissionGroupKeys="),
        ({"CLOUDFLARE_API_TOKEN": "two words"}, "no API token"),
        ({"CLOUDFLARE_API_TOKEN": "a", "CLOUDFLARE_ACCOUNT_ID": "me"}, "--account: "),
    ],
)
async def test_what_is_missing(
    account: Account, ours: Ours, env: dict[str, str], said: str
) -> None:
    """Without an API token it says where to make one; what cannot be one is not sent anywhere."""
    code, out, err = await ended(await ours(**env))
    assert (code, out) == (2, "")
    assert said in err
    assert account.asked == []


async def test_variables(account: Account, ours: Ours) -> None:
    """Wrangler's variables for API token and account are taken."""
    account.refuse["GET"] = (403, 10000)
    env = {"CLOUDFLARE_API_TOKEN": API_TOKEN, "CLOUDFLARE_ACCOUNT_ID": ID.upper()}
    code, out, err = await ended(await ours(**env))
    assert code == 1
    assert "Workers Scripts: Edit" in err
    assert "permissionGroupKeys=" in out
    assert account.asked[0].path == f"{PREFIX}/scripts/flux/settings"
    assert account.asked[0].headers["authorization"] == f"Bearer {API_TOKEN}"


async def test_refused_address(account: Account, ours: Ours, tmp_path: Path) -> None:
    """Once the Worker has its token, the file stays whatever fails afterwards."""
    account.refuse["POST"] = (403, 10023)
    code, out, _ = await ended(await ours())
    assert code == 1
    assert "flux" in account.scripts
    assert "keep it" in out
    assert (tmp_path / "flux-token.txt").exists()


@pytest.mark.parametrize(("status", "code"), [(403, 10023), (307, 1)])
async def test_refused_upload(
    account: Account, ours: Ours, tmp_path: Path, status: int, code: int
) -> None:
    """What Cloudflare refuses or sends elsewhere leaves no token behind, and goes nowhere else."""
    account.refuse["PUT"] = (status, code)
    exit_code, _, err = await ended(await ours())
    assert exit_code == 1
    assert re.search(rf"\({code}\)|uploading the Worker", err)
    assert not (tmp_path / "flux-token.txt").exists()
    assert [one.method for one in account.asked].count("PUT") == 1
    assert not [one for one in account.asked if "elsewhere" in one.path]


async def test_broken_off(account: Account, ours: Ours, tmp_path: Path) -> None:
    """Where nobody knows whether the upload arrived, its token stays, and that is said."""
    account.refuse["PUT"] = (502, 1)
    code, out, err = await ended(await ours())
    assert code == 1
    assert "uploading the Worker" in err
    assert "flux-token.txt may already be that of the Worker: keep it" in out
    assert (tmp_path / "flux-token.txt").exists()
