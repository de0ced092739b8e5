"""The arrows of the design: what each part may import, held by reading the imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wyoming_flux"
INTEGRATION = ROOT / "custom_components" / "wyoming_flux"

BELOW_ALL = {
    "__init__",
    "address",
    "audio",
    "declare",
    "keyterms",
    "names",
    "settings",
    "errors",
}
# Which parts of the library a part may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "address": {"errors"},
    "declare": {"errors"},
    "settings": {"address", "declare", "errors"},
    "audio": BELOW_ALL,
    "keyterms": BELOW_ALL,
    "names": BELOW_ALL,
    "minutes": BELOW_ALL,
    "websocket": {"__init__"},
    "home": BELOW_ALL | {"websocket"},
    "flux": BELOW_ALL | {"websocket"},
    "ear": BELOW_ALL | {"flux"},
    "utterance": BELOW_ALL | {"flux"},
    "look": BELOW_ALL | {"utterance"},
    "cloudflare": BELOW_ALL | {"flux"},
    "server": BELOW_ALL | {"flux", "utterance", "minutes"},
    "remote": BELOW_ALL | {"ear", "flux", "utterance"},
    "simulator": BELOW_ALL | {"ear", "flux"},
    "cli": BELOW_ALL
    | {
        "flux",
        "ear",
        "utterance",
        "remote",
        "cloudflare",
        "minutes",
        "server",
        "simulator",
        "look",
        "home",
    },
    "__main__": {"cli"},
    "custom_components": BELOW_ALL
    | {"flux", "remote", "look", "utterance", "cloudflare", "minutes", "server"},
}
# The integration is written for Home Assistant's Python, which older ones cannot read.
INTEGRATION_MODULES = [*INTEGRATION.rglob("*.py")] if sys.version_info >= (3, 14) else []
MODULES = sorted([*PACKAGE.rglob("*.py"), *INTEGRATION_MODULES])


def imported(path: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, wherever in it the import stands."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import audio` names a module, `from .audio import frames` something in it.
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """The part of the design that a file belongs to."""
    if path.is_relative_to(INTEGRATION):
        return "custom_components"
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def parts_used(path: Path) -> set[str]:
    """The parts of the library that a file imports, without its own."""
    used = set()
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top == "wyoming_flux":
            part = rest.partition(".")[0]
            known = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
            used.add(part if part and known else "__init__")
    return used - {part_of(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    """No module imports a part that stands above its own."""
    part = part_of(path)
    assert part in ALLOWED, f"{part} is not in the design: give it its place in ALLOWED"
    assert parts_used(path) <= ALLOWED[part]


@pytest.mark.parametrize(
    "module", ["machine", "record", "replay", "rules", "stream", "tape", "texts", "words"]
)
def test_what_decides_knows_neither_sockets_nor_clocks(module: str) -> None:
    """What decides an utterance has no I/O and no time of its own."""
    forbidden = {
        "asyncio", "socket", "ssl", "select", "selectors", "threading", "time", "datetime",
        "websockets", "wyoming", "random", "logging",
    }  # fmt: skip
    used = {name.partition(".")[0] for name in imported(PACKAGE / "utterance" / f"{module}.py")}
    assert not used & forbidden


def test_flux_does_not_know_wyoming() -> None:
    """Speaking Flux needs no Wyoming."""
    for path in (PACKAGE / "flux").rglob("*.py"):
        assert "wyoming" not in {name.partition(".")[0] for name in imported(path)}, path


def test_server_does_not_know_the_websocket() -> None:
    """Speaking Wyoming needs no WebSocket library."""
    for path in (PACKAGE / "server").rglob("*.py"):
        assert "websockets" not in {name.partition(".")[0] for name in imported(path)}, path


def test_library_does_not_know_home_assistant() -> None:
    """The server runs where no Home Assistant is."""
    for path in PACKAGE.rglob("*.py"):
        used = {name.partition(".")[0] for name in imported(path)}
        assert not used & {"homeassistant", "custom_components", "voluptuous", "probatio"}, path


@pytest.mark.parametrize("module", ["wyoming_flux.utterance", "wyoming_flux.server"])
def test_numpy_is_not_loaded_before_it_is_needed(module: str) -> None:
    """A stream that needs no conversion costs no import of numpy, nor does starting up."""
    code = f"import sys, {module}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
