"""Whatever a person can get to see has an English text: fields, errors, states, issues."""

import ast
import json
import re
from pathlib import Path
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers.translation import async_get_translations

from custom_components.wyoming_flux import issues
from custom_components.wyoming_flux.config_flow import (
    CHANGES,
    DEEPGRAM_SCHEMA,
    REAUTH_SCHEMA,
    RECONFIGURE_SCHEMA,
    URL_SCHEMA,
    WAYS,
)
from custom_components.wyoming_flux.flow import assistant_schema
from custom_components.wyoming_flux.options import DEFAULTS
from custom_components.wyoming_flux.options_flow import options_schema
from custom_components.wyoming_flux.sensor import ERROR_CODES, SENSORS
from custom_components.wyoming_flux.worker_flow import (
    SUBDOMAIN_SCHEMA,
    TOKEN_SCHEMA,
    WORKER_SCHEMA,
    account_schema,
)
from wyoming_flux import errors
from wyoming_flux.settings import MODELS, SAMPLE_RATES, SENSITIVITIES

INTEGRATION = Path(__file__).parents[2] / "custom_components" / "wyoming_flux"
ENGLISH: dict[str, Any] = json.loads((INTEGRATION / "translations" / "en.json").read_text("utf-8"))


def strings(name: str, call: str, position: int) -> set[str]:
    """Return the literal strings that a module passes to a call at a position."""
    tree = ast.parse((INTEGRATION / name).read_text("utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == call:
            argument = node.args[position]
            found |= {
                one.value
                for one in ast.walk(argument)
                if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
    return found


def fields(schema: Any) -> set[str]:
    """Return the names of a schema's fields."""
    return {str(key) for key in schema.schema}


def test_every_field_has_a_name_and_a_description() -> None:
    """A person learns of each field what it does."""
    steps = ENGLISH["config"]["step"]
    schemas = {
        "url": URL_SCHEMA,
        "deepgram": DEEPGRAM_SCHEMA,
        "worker": WORKER_SCHEMA,
        "worker_account": account_schema(()),
        "worker_subdomain": SUBDOMAIN_SCHEMA,
        "worker_token": TOKEN_SCHEMA,
        "assistant": assistant_schema({}),
        "reconfigure_url": RECONFIGURE_SCHEMA,
        "reauth_confirm": REAUTH_SCHEMA,
    }
    menus = {"user": WAYS, "reconfigure": CHANGES}
    assert set(steps) == {*schemas, *menus, "worker_progress", "worker_wait"}
    for step, choices in menus.items():
        assert set(steps[step]["menu_options"]) == set(choices)
        assert set(steps[step]["menu_option_descriptions"]) == set(choices)
    for step, schema in schemas.items():
        assert set(steps[step]["data"]) == fields(schema)
        assert set(steps[step]["data_description"]) == fields(schema)
        assert steps[step]["title"]

    choose = ENGLISH["options"]["step"]["choose"]
    assert set(choose["menu_options"]) == set(choose["menu_option_descriptions"])
    form = options_schema(DEFAULTS, multilingual=True)
    init = ENGLISH["options"]["step"]["init"]
    assert set(init["data"]) == fields(form) - set(init["sections"])
    assert set(init["data_description"]) == set(init["data"])
    for name, text in init["sections"].items():
        assert set(text["data"]) == fields(form.schema[name].schema)
        assert set(text["data_description"]) == set(text["data"])


def test_consent_names_what_is_sent() -> None:
    """Wherever names of the home can be switched on, the form says which, in the same words."""
    forms = [ENGLISH["options"]["step"]["init"], *ENGLISH["config"]["step"].values()]
    asking = [form for form in forms if "home_names" in form.get("data", {})]
    texts = [form["data_description"]["home_names"] for form in asking]
    assert len(texts) == 4
    (text,) = set(texts)
    for sent in ("areas", "floors", "devices", "scenes", "scripts", "aliases"):
        assert sent in text


def test_every_fault_has_a_text() -> None:
    """Each key that a flow can show is there, and none that it cannot."""
    checked = strings("check.py", "FormError", 1)
    flow = strings("flow.py", "FormError", 1) | strings("worker_flow.py", "FormError", 1)
    assert set(ENGLISH["config"]["error"]) == checked | flow
    aborts = strings("flow.py", "AbortFlow", 0) | strings("worker_flow.py", "AbortFlow", 0)
    own = {"reauth_successful", "reconfigure_successful"}  # Home Assistant's
    assert set(ENGLISH["config"]["abort"]) == aborts | own
    # The options make no connection.
    unconnected = {
        "invalid_value",
        "keyterm_too_long",
        "too_many_keyterms",
        "plain_keyterms",
        "plain_mip_opt_out",
        "plain_sample_rate",
        "eager_above_threshold",
        "fallback_to_itself",
    }
    assert set(ENGLISH["options"]["error"]) == unconnected


def test_every_choice_has_a_text() -> None:
    """The values of all lists are words, not codes."""
    selector = ENGLISH["selector"]
    assert set(selector["sample_rate"]["options"]) == {str(rate) for rate in SAMPLE_RATES}
    assert set(selector["sensitivity"]["options"]) == set(SENSITIVITIES)
    assert set(selector["model"]["options"]) == set(MODELS)


def test_every_entity_and_state_has_a_text() -> None:
    """Sensors have names, and each error that can end a turn has a state of its own."""
    sensors = ENGLISH["entity"]["sensor"]
    assert set(sensors) == {description.translation_key for description in SENSORS}
    assert set(sensors["last_error"]["state"]) == set(ERROR_CODES)
    # Those of the Wyoming server never end a turn of an entity.
    foreign = {"invalid-setting", "invalid-event", "unsupported-language", "busy"}
    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.WyomingFluxError)
    }
    assert {code.replace("-", "_") for code in codes - foreign} == set(ERROR_CODES)


def test_every_issue_and_exception_has_a_text() -> None:
    """What Home Assistant shows outside of our dialogues."""
    assert set(ENGLISH["issues"]) == set(issues.ALL)
    source = (INTEGRATION / "__init__.py").read_text("utf-8")
    keys = set(re.findall(r'translation_key="(\w+)"', source))
    assert set(ENGLISH["exceptions"]) == keys


def test_system_health_lines_have_texts() -> None:
    """The page for bug reports."""
    source = (INTEGRATION / "system_health.py").read_text("utf-8")
    for key in ENGLISH["system_health"]["info"]:
        assert f'"{key}"' in source


def leaves(tree: dict[str, Any], path: str = "") -> dict[str, str]:
    """Return all texts of a translation by their path."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        where = f"{path}.{key}"
        found |= leaves(value, where) if isinstance(value, dict) else {where: value}
    return found


def wrong_with(translation: dict[str, Any]) -> list[str]:
    """Return what is wrong with a translation: unknown texts, and other placeholders."""
    english = leaves(ENGLISH)
    return [
        where
        for where, text in leaves(translation).items()
        if set(re.findall(r"{\w*}", text)) != set(re.findall(r"{\w*}", english.get(where, "{}")))
    ]


def test_other_languages_are_parts_of_the_english_one() -> None:
    """Native speakers may contribute any part, with the placeholders of the English texts."""
    assert wrong_with({"exceptions": {"invalid_setting": {"message": "Nein: {reason}"}}}) == []
    assert wrong_with({"exceptions": {"invalid_setting": {"message": "Nein"}}}) != []
    assert wrong_with({"exceptions": {"other": {"message": "Nein"}}}) != []
    for path in (INTEGRATION / "translations").glob("*.json"):
        assert wrong_with(json.loads(path.read_text("utf-8"))) == [], path.name


async def test_home_assistant_finds_the_texts(hass: HomeAssistant) -> None:
    """They are where Home Assistant looks for them."""
    found = await async_get_translations(hass, "en", "config", ["wyoming_flux"])
    assert found["component.wyoming_flux.config.step.url.data.worker_url"] == "Worker URL"
