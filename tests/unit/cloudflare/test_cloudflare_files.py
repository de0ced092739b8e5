"""What the library knows of Cloudflare agrees with the files and pages it is taken from."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wyoming_flux.cloudflare import Plan, token_page, worker_source

ROOT = Path(__file__).parents[3]
WRANGLER: dict[str, Any] = json.loads((Path(__file__).parent / "wrangler.json").read_text())


def test_page_for_the_api_token() -> None:
    """The link asks for the two permissions, in the form that Cloudflare documents."""
    url = urlsplit(token_page("Deepgram Flux"))
    assert url.netloc + url.path == "dash.cloudflare.com/profile/api-tokens"
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert json.loads(query.pop("permissionGroupKeys")) == [
        {"key": "workers_scripts", "type": "edit"},
        {"key": "account_settings", "type": "read"},
    ]
    assert query == {"accountId": "*", "zoneId": "all", "name": "Deepgram Flux"}
    assert "+" not in url.query


def test_settings_are_those_of_wrangler_jsonc() -> None:
    """What wrangler reads from worker/wrangler.jsonc is what the fixture was made with."""
    text = (ROOT / "worker/wrangler.jsonc").read_text()
    config = json.loads(re.sub(r",(\s*[}\]])", r"\1", re.sub(r"(?m)^\s*//.*$", "", text)))
    metadata = WRANGLER["first"]["metadata"]
    assert config["compatibility_date"] == metadata["compatibility_date"]
    assert config["observability"] == metadata["observability"]
    (limiter,) = [one for one in metadata["bindings"] if one["type"] == "ratelimit"]
    assert config["ratelimits"] == [{k: v for k, v in limiter.items() if k != "type"}]
    assert config["name"] == Plan().name


def test_the_wheel_has_the_worker(tmp_path: Path) -> None:
    """The library uploads the same module from a checkout and from an installed wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", tmp_path], cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom wyoming_flux import cloudflare as c\n"
    )
    program += "assert c.__file__.startswith(sys.argv[1]), c.__file__\n"
    program += "sys.stdout.buffer.write(c.worker_source())"
    installed = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "site"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert installed.stdout == worker_source() == (ROOT / "worker/src/index.js").read_bytes()
