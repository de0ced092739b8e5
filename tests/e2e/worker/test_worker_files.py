"""What belongs together in the Worker's files, and what must not be lost from them."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
WORKER = ROOT / "worker"
RUNTIME = ROOT / "tests" / "e2e" / "worker" / "runtime"


def wrangler() -> dict[str, Any]:
    """Read wrangler.jsonc, whose comments stand on lines of their own."""
    text = (WORKER / "wrangler.jsonc").read_text()
    text = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    config: dict[str, Any] = json.loads(re.sub(r",(\s*[}\]])", r"\1", text))
    return config


def packages(folder: Path) -> dict[str, Any]:
    """Return the packages of a lock file by their folder."""
    found: dict[str, Any] = json.loads((folder / "package-lock.json").read_text())["packages"]
    return found


def test_tests_run_what_is_deployed() -> None:
    """The tests' runtime is the one of the pinned wrangler, at the same compatibility date."""
    shipped, tested = packages(WORKER), packages(RUNTIME)
    versions = {lock["node_modules/workerd"]["version"] for lock in (shipped, tested)}
    assert len(versions) == 1
    capnp = (RUNTIME.parent / "worker.capnp").read_text()
    dates = set(re.findall(r'compatibilityDate = "([^"]+)"', capnp))
    assert dates == {wrangler()["compatibility_date"]}
    assert "compatibility_flags" not in wrangler()


def test_lock_files_serve_every_machine() -> None:
    """Each platform's packages are locked, with checksums, and no registry is named."""
    for folder in (WORKER, RUNTIME):
        locked = packages(folder)
        for path, package in locked.items():
            assert "resolved" not in package
            assert not path or package["integrity"].startswith("sha512-")
            for name in package.get("optionalDependencies", {}):
                assert f"node_modules/{name}" in locked
        for platform in ("linux-64", "linux-arm64", "darwin-64", "darwin-arm64", "windows-64"):
            assert f"node_modules/@cloudflare/workerd-{platform}" in locked


def test_configuration_is_careful() -> None:
    """No second public address, no query strings in logs, a limit, and nothing that opens it."""
    config = wrangler()
    assert config["preview_urls"] is False
    assert config["observability"] == {"enabled": True, "redact_query_string": True}
    assert config["ai"] == {"binding": "AI"}
    (limit,) = config["ratelimits"]
    assert limit["name"] == "LIMITER"
    assert limit["simple"] == {"limit": 60, "period": 60}
    # Workers of one account that have the same number count together: not that of an example.
    assert int(limit["namespace_id"]) > 9999
    assert "vars" not in config
    # With `secrets.required` the first deployment of a new Worker fails.
    assert "secrets" not in config


def test_deploy_button_asks_for_the_token() -> None:
    """What the button shows and asks for is described, and the example holds no password."""
    described = json.loads((WORKER / "package.json").read_text())["cloudflare"]["bindings"]
    assert set(described) == {"AI", "FLUX_TOKEN", "LIMITER"}
    lines = (WORKER / ".dev.vars.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["FLUX_TOKEN="]
