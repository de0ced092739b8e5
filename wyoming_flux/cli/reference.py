"""Writes the reference page: ``python -m wyoming_flux.cli.reference > docs/configuration.md``."""

from collections.abc import Iterable, Iterator
from typing import Final

from wyoming_flux.declare import Setting
from wyoming_flux.settings import GROUPS, SENSITIVITIES

from .options import SETTINGS, file_variable_of, flag_of, variable_of

_INTRO: Final = (
    "# Configuration\n\n"
    "Every option of `wyoming-flux serve`, made from the settings by"
    " `python -m wyoming_flux.cli.reference`: do not change it here. What Home Assistant's own form"
    " offers is in [home-assistant.md](home-assistant.md).\n\n"
    "Each option is a flag, an environment variable, and a variable with `_FILE` at its end that"
    " names a file with the value. The flag wins over the variable. An empty variable counts as not"
    " set. Both variables of one option at once are an error. Of a `WYOMING_FLUX_…` variable that"
    " is not known you are warned.\n\n"
    "A flag that can be given several times is one variable, or one file, with all the values: one"
    " on each line, or between commas (headers: one on each line). `none` stands for none.\n\n"
    "Anybody on the machine can read a command line. So the flag of a secret does not take the"
    " secret, but the name of a file that holds it.\n"
)


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRO
    for title in GROUPS:
        yield f"## {title[0].upper()}{title[1:]}\n"
        yield "| Option | Variable | Takes | Default | What it is for |"
        yield "|---|---|---|---|---|"
        for setting in SETTINGS["serve"].values():
            if setting.group == title:
                yield _row(setting)
        yield ""
    yield "## Sensitivity\n"
    yield "What a preset stands for where the option itself is not set:\n"
    yield "| Preset | `--eot-threshold` | `--eot-timeout-ms` | `--hold` |"
    yield "|---|---|---|---|"
    for name, preset in SENSITIVITIES.items():
        yield f"| `{name}` | {preset.eot_threshold:g} | {preset.eot_timeout_ms} | {preset.hold} |"
    yield "\n## Which command takes what\n"
    every = SETTINGS["serve"]
    for command, settings in SETTINGS.items():
        without = [one for name, one in every.items() if name not in settings]
        if len(without) < len(settings):
            but = f" but {_flags(without)}" if without else ""
            yield f"- `{command}`: all{but}."
        elif settings:
            yield f"- `{command}`: {_flags(settings.values())}."
    yield "\nWhat a command takes besides, its `--help` tells."


def _flags(settings: Iterable[Setting]) -> str:
    return ", ".join(f"`{flag_of(one)}`" for one in settings)


def _row(setting: Setting) -> str:
    variables = [variable_of(setting), file_variable_of(setting)]
    named = "<br>".join(f"`{one}`" for one in variables if one)
    takes = f"in a file: {setting.takes}" if setting.secret else setting.takes
    if setting.kind in ("switch", "name"):
        usual = "no"
    else:
        usual = setting.usual if setting.unset or not setting.usual else f"`{setting.usual}`"
    return f"| `{flag_of(setting)}` | {named} | {takes} | {usual or '–'} | {setting.help} |"


if __name__ == "__main__":
    print(page(), end="")
