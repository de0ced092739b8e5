"""The folder of a Home Assistant that starts without its dialogues and stays off the internet."""

import functools
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

CONFIGURATION: Final = Path(__file__).with_name("configuration.yaml")

_FACTS: Final = """\
import json
from homeassistant.components.http import config as http
from homeassistant.const import __version__
found = [__version__, http.STORAGE_VERSION, http.STORAGE_MINOR_VERSION, http._DEFAULT_CONFIG]
print(json.dumps(found, default=str))
"""


def write(
    folder: Path,
    *,
    port: int,
    custom: Sequence[Path],
    yaml: str,
    debug: Sequence[str],
    python: Path,
) -> str:
    """Write what a Home Assistant of this environment reads at its start; return its version."""
    storage = folder / ".storage"
    storage.mkdir(parents=True, exist_ok=True)
    loggers = {"homeassistant.components.assist_pipeline": "warning"}
    loggers |= dict.fromkeys(debug, "debug")
    lines = "".join(f"    {name}: {level}\n" for name, level in loggers.items())
    (folder / "configuration.yaml").write_text(CONFIGURATION.read_text() + lines + yaml)
    # In YAML the address would be a trial, which Home Assistant takes back by a restart.
    found, version, minor, http = _facts(python)
    http |= {"server_host": ["127.0.0.1"], "server_port": port}
    data = {"stable": http, "pending": None, "yaml_migration_done": True}
    _store(storage, "http", version, minor, data)
    # These steps would start integrations that talk to the internet.
    done = ["core_config", "analytics", "integration"]
    _store(storage, "onboarding", 4, 1, {"done": done})
    for source in custom:
        target = folder / "custom_components" / source.stem
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True)
            shutil.copy(source, target / "__init__.py")
            # Made here: hassfest would check any that it finds in a checkout.
            manifest = {"domain": source.stem, "name": source.stem, "version": "1.0.0"}
            (target / "manifest.json").write_text(json.dumps(manifest))
    return found


@functools.cache
def _asked(python: Path) -> str:
    return subprocess.run(
        [str(python), "-c", _FACTS], cwd="/", check=True, capture_output=True, text=True
    ).stdout


def _facts(python: Path) -> tuple[str, int, int, dict[str, Any]]:
    """Return Home Assistant's version, and version and defaults of what it stores for http."""
    version, major, minor, defaults = json.loads(_asked(python))
    return version, major, minor, defaults


def _store(folder: Path, key: str, version: int, minor: int, data: Any) -> None:
    content = {"version": version, "minor_version": minor, "key": key, "data": data}
    (folder / key).write_text(json.dumps(content, default=str))
