"""Every rule of the Integration Quality Scale is answered, and what the answers claim exists."""

import json
from pathlib import Path
from typing import Any

from homeassistant.util.yaml import load_yaml_dict

ROOT = Path(__file__).parents[2]
INTEGRATION = ROOT / "custom_components" / "wyoming_flux"
RULES: dict[str, Any] = load_yaml_dict(str(INTEGRATION / "quality_scale.yaml"))["rules"]  # type: ignore[assignment]

# developers.home-assistant.io, tiers.json, 2026-08.
TIERS = {
    "bronze": (
        "action-setup appropriate-polling brands common-modules config-flow-test-coverage"
        " config-flow dependency-transparency docs-actions docs-conditions"
        " docs-high-level-description docs-installation-instructions docs-removal-instructions"
        " docs-triggers entity-event-setup entity-unique-id has-entity-name runtime-data"
        " test-before-configure test-before-setup unique-config-entry"
    ),
    "silver": (
        "action-exceptions config-entry-unloading docs-configuration-parameters"
        " docs-installation-parameters entity-unavailable integration-owner log-when-unavailable"
        " parallel-updates reauthentication-flow test-coverage"
    ),
    "gold": (
        "devices diagnostics discovery-update-info discovery docs-data-update docs-examples"
        " docs-known-limitations docs-supported-devices docs-supported-functions"
        " docs-troubleshooting docs-use-cases dynamic-devices entity-category"
        " entity-device-class entity-disabled-by-default entity-translations"
        " exception-translations icon-translations reconfiguration-flow repair-issues"
        " stale-devices"
    ),
    "platinum": "async-dependency inject-websession strict-typing",
}

# Where the documentation answers a rule, by its heading.
HEADINGS = {
    "docs-high-level-description": "# Deepgram Flux in Home Assistant",
    "docs-installation-instructions": "## Install",
    "docs-installation-parameters": "## Configure",
    "docs-configuration-parameters": "## Options",
    "docs-supported-functions": "## Entities",
    "docs-data-update": "## How data is updated",
    "docs-use-cases": "## What it is for",
    "docs-examples": "## Examples",
    "docs-known-limitations": "## Known limitations",
    "docs-troubleshooting": "## Troubleshooting",
    "docs-removal-instructions": "## Remove",
}


def test_every_rule_is_answered() -> None:
    """Each of the 54 rules once: done, or exempt or still to do with a reason."""
    wanted = [rule for tier in TIERS.values() for rule in tier.split()]
    assert len(wanted) == 54
    assert list(RULES) == wanted
    for rule, answer in RULES.items():
        if isinstance(answer, str):
            assert answer == "done", rule
        else:
            assert answer["status"] in ("done", "exempt", "todo"), rule
            assert len(answer["comment"]) > 20, rule


def test_manifest_claims_no_more() -> None:
    """Only a scale whose rules all hold stands in the manifest."""
    manifest = json.loads((INTEGRATION / "manifest.json").read_text("utf-8"))
    answers = [answer if isinstance(answer, str) else answer["status"] for answer in RULES.values()]
    assert ("quality_scale" in manifest) is ("todo" not in answers)


def test_documentation_has_what_the_rules_ask_for() -> None:
    """Each docs rule that is done has its heading in docs/home-assistant.md, with text below."""
    page = (ROOT / "docs" / "home-assistant.md").read_text("utf-8")
    done = {rule for rule, answer in RULES.items() if rule.startswith("docs-") and answer == "done"}
    assert done == set(HEADINGS)
    for heading in HEADINGS.values():
        assert f"\n{heading}\n" in f"\n{page}"
        below = page.split(f"{heading}\n", 1)[1]
        assert len(below.split("\n## ", 1)[0]) > 100, heading


def test_platforms_say_how_many_updates_run_at_once() -> None:
    """The rule parallel-updates."""
    for platform in ("stt.py", "sensor.py"):
        assert "PARALLEL_UPDATES: Final = 0" in (INTEGRATION / platform).read_text("utf-8")
