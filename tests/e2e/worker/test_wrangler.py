"""wrangler is the judge: what `wyoming-flux deploy` sends is what `wrangler deploy` sends."""

import asyncio
import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.worker.account import Account, Asked, upload
from tests.e2e.worker.conftest import API_TOKEN
from tests.support.parts import missing, node
from wyoming_flux.cloudflare import worker_source
from wyoming_flux.cloudflare.script import metadata, multipart

ROOT = Path(__file__).parents[3]
WORKER = ROOT / "worker"
FIXTURE = ROOT / "tests" / "unit" / "cloudflare" / "wrangler.json"
SECRET = "5" * 64


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
                # With its banner it asks npm's registry for a newer version.
                "WRANGLER_HIDE_BANNER": "true",
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


def test_our_form_is_one_to_others() -> None:
    """Node's own parser of forms finds the parts in our upload, byte for byte."""
    body, kind = multipart(worker_source() + b"\r\n--x--\xff", SECRET, "0123456789abcdef" * 2)
    program = """
        const parts = [];
        const body = new Uint8Array(require("fs").readFileSync(0));
        const response = new Response(body, { headers: { "Content-Type": process.argv[1] } });
        response.formData().then(async (form) => {
          for (const [name, part] of form) {
            const file = typeof part !== "string";
            const bytes = Buffer.from(file ? await part.arrayBuffer() : part).toString("base64");
            parts.push([name, file ? part.name : null, file ? part.type : null, bytes]);
          }
          console.log(JSON.stringify(parts));
        });"""
    found = json.loads(subprocess.check_output([node(), "-e", program, kind], input=body))
    (name, file, part_type, data), module = found
    assert (name, file, part_type) == ("metadata", None, None)
    assert json.loads(base64.b64decode(data)) == metadata(SECRET)
    assert module[:3] == ["index.js", "index.js", "application/javascript+module"]
    assert base64.b64decode(module[3]) == worker_source() + b"\r\n--x--\xff"


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
