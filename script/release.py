"""What script/release builds: the archives, the notes, and the two folders to try it all with."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DIST: Final = ROOT / "dist"
INTEGRATION: Final = "custom_components/wyoming_flux"
APP: Final = "deploy/app"


def copy(folder: str, target: Path) -> None:
    """Copy a folder without what Python left in it."""
    shutil.copytree(ROOT / folder, target, ignore=shutil.ignore_patterns("__pycache__"))


def build(folder: Path) -> Path:
    """Build the wheel and the source archive into *folder*; return the wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("wyoming_flux-*.whl"))


def trial(folder: Path, wheel: Path, config: str) -> Path:
    """Make the integration that brings its library along, for a Home Assistant with *config*."""
    target = folder / INTEGRATION
    copy(INTEGRATION, target)
    shutil.copyfile(wheel, target / wheel.name)
    path = target / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    place = f"wyoming-flux@file://{config}/{INTEGRATION}/{wheel.name}"
    manifest["requirements"] = [
        place if requirement.startswith("wyoming-flux==") else requirement
        for requirement in manifest["requirements"]
    ]
    if place not in manifest["requirements"]:
        raise RuntimeError("the manifest does not require the library")
    path.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return target


def app(folder: Path, wheel: Path, version: str) -> Path:
    """Make the app as a folder that Home Assistant builds itself, around the wheel."""
    target = folder / "addons" / "wyoming_flux"
    copy(APP, target)
    config = (target / "config.yaml").read_text("utf-8")
    # Without `image:` the Supervisor builds; with it, it would look for what is not published.
    config = re.sub(r"(?m)^image: .*\n", "", config)
    config = re.sub(r"(?m)^version: .*$", f"version: {version}", config)
    (target / "config.yaml").write_text(config, "utf-8")
    (target / "start.py").rename(_made(target / APP) / "start.py")
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    # The app has the ear on this machine; the Supervisor passes no arguments of ours.
    dockerfile = dockerfile.replace("ARG EAR=0\n", "ARG EAR=1\n")
    (target / "Dockerfile").write_text(dockerfile, "utf-8")
    shutil.copyfile(ROOT / ".dockerignore", target / ".dockerignore")
    sets = [
        path for one in ("build", "image*") for path in (ROOT / "requirements").glob(f"{one}.txt")
    ]
    for path in sets:
        shutil.copyfile(path, _made(target / "requirements") / path.name)
    shutil.copyfile(wheel, target / wheel.name)
    return target


def notes(version: str) -> str:
    """Return what CHANGELOG.md says about *version*. Raises ValueError if it says nothing."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = re.search(rf"(?ms)^## \[?{re.escape(version)}\]?.*?\n(.*?)(?=^## |^\[|\Z)", text)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no section ## {version}")
    return found[1].strip() + "\n"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> int:
    """Make all of it anew."""
    parser = argparse.ArgumentParser(prog="script/release", add_help=False)
    parser.add_argument("--config", default="/config")
    parser.add_argument("--notes", action="store_true", help="print the notes alone")
    arguments = parser.parse_args()
    version = re.findall(r'(?m)^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"))[0]
    if arguments.notes:
        print(notes(version), end="")
        return 0
    if not arguments.config.startswith("/"):
        print("release: --config needs a whole path, as Home Assistant sees it", file=sys.stderr)
        return 2
    shutil.rmtree(DIST, ignore_errors=True)
    wheel = build(_made(DIST))
    folders = [
        trial(DIST / "trial", wheel, arguments.config.rstrip("/")),
        app(DIST / "trial", wheel, version),
    ]
    (DIST / "notes.md").write_text(notes(version), "utf-8")
    for path in (*sorted(DIST.glob("wyoming_flux-*")), *folders):
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
