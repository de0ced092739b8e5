"""The value of each option, from the command line, the environment or a file, in this order."""

import argparse
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wyoming_flux.errors import InvalidSetting, os_reason

from .options import BY_NAME, OPTIONS, OTHER_VARIABLES, PREFIX, Option, options_of, yes_or_no

_MAX_FILE: Final = 256 * 1024

# Fields of the settings that have another name than the option they come from.
_FIELDS: Final = {"keyterms": "keyterm", "wake_phrases": "wake_phrase", "headers": "header"}


@dataclass(slots=True)
class Values:
    """Options that were given, by name; those that were not are absent."""

    given: dict[str, object] = field(default_factory=dict, repr=False)
    sources: dict[str, str] = field(default_factory=dict)
    """Flag or variable from which an option came."""

    def get(self, name: str, default: object = None) -> object:
        """Return an option's value."""
        return self.given.get(name, default)

    def text(self, name: str) -> str | None:
        """Return the value of an option that takes text."""
        value = self.given.get(name)
        return None if value is None else str(value)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return the values of an option that may be repeated."""
        value = self.given.get(name)
        return value if isinstance(value, tuple) else None

    def pick(self, *names: str) -> dict[str, object]:
        """Return those of *names* that were given, as keyword arguments for a settings class."""
        return {name: self.given[name] for name in names if name in self.given}

    def explain(self, error: InvalidSetting) -> str:
        """Return the error's sentence, beginning with the flag or variable that is to blame."""
        option = _FIELDS.get(error.name, error.name)
        source = self.sources.get(option)
        if source is None and option in BY_NAME:
            source = BY_NAME[option].flag
        return f"{source}: {error}" if source is not None else str(error)


def read(
    command: str, namespace: argparse.Namespace, environment: Mapping[str, str] | None = None
) -> Values:
    """Collect the options of *command*. Raises :class:`InvalidSetting` with a whole sentence."""
    if environment is None:
        environment = os.environ
    values = Values()
    for option in options_of(command):
        found = _find(option, namespace, environment)
        if found is None:
            continue
        source, raw = found
        try:
            values.given[option.name] = _convert(option, raw)
        except ValueError as error:
            raise InvalidSetting(option.name, f"{source}: {error}") from None
        values.sources[option.name] = source
    return values


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return one warning for each variable that has our prefix and means nothing."""
    if environment is None:
        environment = os.environ
    known = set(OTHER_VARIABLES)
    for option in OPTIONS:
        known.add(option.variable)
        if option.file_variable:
            known.add(option.file_variable)
    warnings = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            warnings.append(f"the variable {name} is not known and has no effect{hint}")
    return warnings


def _find(
    option: Option, namespace: argparse.Namespace, environment: Mapping[str, str]
) -> tuple[str, list[str]] | None:
    """Return where an option was given and its raw values, or None."""
    if option.secret:
        path = getattr(namespace, f"{option.name}_file", None)
        if path is not None:
            return option.flag, _split(option, _read_file(option, option.flag, path))
    else:
        given = getattr(namespace, option.name, None)
        if given is not None:
            return option.flag, given if isinstance(given, list) else [given]
    variable, file_variable = option.variable, option.file_variable
    # An empty variable is how compose files and unit files say "not set".
    value = environment.get(variable, "").strip()
    path = environment.get(file_variable, "").strip() if file_variable else ""
    if value and path:
        raise InvalidSetting(
            option.name, f"{variable} and {file_variable} are both set; keep one of them"
        )
    if value:
        return variable, _split(option, value)
    if path and file_variable:
        return file_variable, _split(option, _read_file(option, file_variable, path))
    return None


def _read_file(option: Option, source: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidSetting(option.name, f"{source}: the file {path} is not text") from None
    except (OSError, ValueError) as error:
        raise InvalidSetting(
            option.name, f"{source}: the file {path} cannot be read: {os_reason(error)}"
        ) from None
    if len(content) > _MAX_FILE:
        raise InvalidSetting(option.name, f"{source}: the file {path} is too large")
    if not text.strip():
        raise InvalidSetting(option.name, f"{source}: the file {path} is empty")
    return text.strip()


def _split(option: Option, text: str) -> list[str]:
    if not option.many:
        return [text]
    # Values of headers may hold commas.
    lines = text.splitlines() if option.secret else text.replace(",", "\n").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _convert(option: Option, raw: list[str]) -> object:
    if option.switch:
        return yes_or_no(raw[0])
    if option.optional_value:
        return _optional(raw[0])
    if option.choices and raw[0] not in option.choices:
        known = ", ".join(option.choices)
        raise ValueError(f"one of {known} is needed, not {raw[0]!r}")
    if not option.many:
        return option.convert(raw[0].strip())
    if [one.strip().casefold() for one in raw] in (["none"], [""]):
        return ()
    return tuple(option.convert(one) for one in raw)


def _optional(text: str) -> str | None:
    """Return a name, "" for the usual one, None for not at all."""
    try:
        return "" if yes_or_no(text) else None
    except ValueError:
        return text.strip()
