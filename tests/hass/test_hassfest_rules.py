"""What hassfest and the HACS action check, checked here: neither can be had without internet.

Rules of hassfest's manifest.py, translations.py, icons.py and json.py (2026-07 to 2026-10) and of
the HACS action (2026-07).
"""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awesomeversion import AwesomeVersion, AwesomeVersionStrategy
from homeassistant.const import Platform

import wyoming_flux

ROOT = Path(__file__).parents[2]
INTEGRATION = ROOT / "custom_components" / "wyoming_flux"


def load(path: Path) -> dict[str, Any]:
    """Read a JSON file that must be an object without repeated keys."""

    def no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        assert len(set(keys)) == len(keys), f"{path}: a key is repeated among {keys}"
        return dict(pairs)

    return json.loads(path.read_text("utf-8"), object_pairs_hook=no_repetition)


MANIFEST = load(INTEGRATION / "manifest.json")
ENGLISH = load(INTEGRATION / "translations" / "en.json")
ICONS = load(INTEGRATION / "icons.json")
HACS = load(ROOT / "hacs.json")


def texts(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give every text of a translation file with its keys."""
    if isinstance(node, str):
        yield path, node
        return
    for key, value in node.items():
        yield from texts(value, (*path, key))


TEXTS = list(texts(ENGLISH))


def test_manifest_has_what_it_must_and_nothing_unknown() -> None:
    """Required keys are there, others are known, and the order is hassfest's."""
    known = set(
        "domain name after_dependencies codeowners config_flow dependencies documentation"
        " import_executor integration_type iot_class issue_tracker loggers quality_scale"
        " requirements single_config_entry version".split()
    )
    assert set(MANIFEST) <= known
    required = {"domain", "name", "codeowners", "documentation", "iot_class", "version"}
    assert required | {"issue_tracker"} <= set(MANIFEST)
    keys = list(MANIFEST)
    assert keys[:2] == ["domain", "name"]
    assert keys[2:] == sorted(keys[2:])


def test_manifest_values() -> None:
    """Values are of the kinds that Home Assistant and HACS take."""
    assert MANIFEST["domain"] == INTEGRATION.name
    assert MANIFEST["codeowners"]
    assert all(owner.startswith("@") for owner in MANIFEST["codeowners"])
    assert MANIFEST["integration_type"] == "service"
    assert MANIFEST["iot_class"] == "cloud_push"
    assert MANIFEST["config_flow"] is (INTEGRATION / "config_flow.py").exists()
    for key in ("documentation", "issue_tracker"):
        assert MANIFEST[key].startswith("https://")
        assert "www.home-assistant.io/integrations" not in MANIFEST[key]
    AwesomeVersion(
        MANIFEST["version"],
        ensure_strategy=[AwesomeVersionStrategy.CALVER, AwesomeVersionStrategy.SEMVER],
    )


def test_one_version_everywhere() -> None:
    """The manifest, its requirement and the library belong together."""
    version = wyoming_flux.__version__
    assert MANIFEST["version"] == version
    assert MANIFEST["requirements"] == [f"wyoming-flux=={version}"]
    assert not any(" " in requirement for requirement in MANIFEST["requirements"])


def test_imported_components_are_declared_or_need_not_be() -> None:
    """Nothing is imported from a component that might not be set up."""
    allowed = {platform.value for platform in Platform} | {"homeassistant", "system_health"}
    allowed |= {path.stem for path in INTEGRATION.glob("*.py")}
    allowed |= set(MANIFEST.get("dependencies", ())) | set(MANIFEST.get("after_dependencies", ()))
    used: set[str] = set()
    for path in INTEGRATION.glob("*.py"):
        used |= set(re.findall(r"homeassistant\.components\.(\w+)", path.read_text("utf-8")))
        used |= set(
            re.findall(r"from homeassistant\.components import (\w+)", path.read_text("utf-8"))
        )
    assert used <= allowed
    assert "stt" in used


def test_no_actions_without_descriptions() -> None:
    """There is no services.yaml, so there is no action."""
    source = "".join(path.read_text("utf-8") for path in INTEGRATION.glob("*.py"))
    assert "async_register(DOMAIN" not in source
    assert "services.async_register" not in source
    assert not (INTEGRATION / "services.yaml").exists()


def test_only_the_integration_has_a_manifest() -> None:
    """Older images of the hassfest action check every manifest.json of a checkout."""
    # dist is what script/release leaves, and in no checkout.
    ignored = {"node_modules", "dist"}
    found = [
        path
        for path in ROOT.rglob("manifest.json")
        if not any(part in ignored or part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]
    assert found == [INTEGRATION / "manifest.json"]
    folders = {path.name for path in (ROOT / "custom_components").iterdir()}
    assert folders - {"__pycache__"} == {"wyoming_flux"}


def test_all_json_parses() -> None:
    """Every JSON file of the integration can be read."""
    for path in INTEGRATION.rglob("*.json"):
        load(path)


@pytest.mark.parametrize(("path", "text"), TEXTS, ids=[".".join(path) for path, _ in TEXTS])
def test_text_is_as_hassfest_wants_it(path: tuple[str, ...], text: str) -> None:
    """No HTML, no URL, no quoted placeholder, no blank at the ends, names of placeholders."""
    assert text
    assert text == text.strip()
    assert not re.search(r"</?[a-zA-Z][^>]*>", text)
    assert "://" not in text, "give URLs as placeholders"
    assert not re.search(r"'\{\w*\}'", text)
    assert "[%key:" not in text, "references are not resolved outside of core"
    for name in re.findall(r"\{([^}]*)\}", text):
        assert name.isidentifier()
    for key in path:
        assert re.fullmatch(r"[a-z0-9]+([-_][a-z0-9]+)*", key)


def test_translations_have_known_parts_only() -> None:
    """Top-level keys and the keys of steps are those that the frontend reads."""
    assert set(ENGLISH) <= set(
        "title config options selector entity device exceptions issues services"
        " system_health common".split()
    )
    step_keys = {"title", "description", "data", "data_description", "sections", "submit"}
    step_keys |= {"menu_options", "menu_option_descriptions"}
    for flow in ("config", "options"):
        known = {"step", "error", "abort", "flow_title", "create_entry", "progress"}
        assert set(ENGLISH[flow]) <= known
        for step in ENGLISH[flow]["step"].values():
            assert set(step) <= step_keys
            parts = [step, *step.get("sections", {}).values()]
            for part in parts:
                assert set(part.get("data_description", {})) <= set(part.get("data", {}))
            for section in step.get("sections", {}).values():
                assert set(section) <= {"name", "description", "data", "data_description"}
    for issue in ENGLISH["issues"].values():
        assert set(issue) == {"title", "description"}
    for exception in ENGLISH["exceptions"].values():
        assert set(exception) == {"message"}


def test_icons_are_material_design_icons() -> None:
    """Only icons that the frontend has; every sensor has one."""
    for sensor in ICONS["entity"]["sensor"].values():
        assert set(sensor) == {"default"}
        assert re.fullmatch(r"mdi:[a-z0-9-]+", sensor["default"])
    assert set(ICONS["entity"]["sensor"]) == set(ENGLISH["entity"]["sensor"])


def test_hacs_json() -> None:
    """Only keys that HACS knows, and the floor that is tested."""
    assert set(HACS) <= set(
        "name content_in_root country filename hacs hide_default_branch homeassistant"
        " persistent_directory render_readme zip_release".split()
    )
    assert HACS["name"] == MANIFEST["name"]
    assert HACS["homeassistant"] == "2026.10.0"
    # The workflow tries that one.
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert f'version: ["{HACS["homeassistant"]}", newest]' in workflow
    assert "zip_release" not in HACS


@pytest.mark.parametrize(("name", "size"), [("icon.png", 256), ("icon@2x.png", 512)])
def test_brand_images(name: str, size: int) -> None:
    """The images that the frontend and HACS show have the sizes they want."""
    data = (INTEGRATION / "brand" / name).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (size, size)
    assert (INTEGRATION / "brand" / "icon.svg").exists()
