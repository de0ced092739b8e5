"""How a setting is declared, read from text, checked and described."""

import dataclasses
import functools
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from .errors import InvalidSetting

Kind = Literal["text", "texts", "choice", "whole", "number", "switch", "name"]
"""``texts`` may be given several times; a ``name`` may be left out, or be yes or no."""


_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known of one setting."""

    name: str = ""
    """The field; also the name of the option, unless that has one of its own."""
    default: Any
    help: str
    """What it is for, in half a line."""
    kind: Kind
    group: str = ""
    """The part of the command line's help and of the reference page."""
    option: str = ""
    unset: str = ""
    """What holds when the default is None, in words."""
    metavar: str = ""
    choices: tuple[Any, ...] = ()
    limits: tuple[float, float] | None = None
    """Least and most, both possible."""
    unit: str = ""
    step: float | Literal["any"] = 1
    """By how much a form changes a number."""
    what: str = ""
    """The text, or one of the texts, in a sentence; where there is none, any text will do."""
    longest: int = 100
    """Characters of a text, or of each of the texts."""
    secret: bool = False
    """Never on the command line, whose flag names a file instead, and never shown."""
    convert: Callable[[str], object] = str

    def parse(self, texts: list[str]) -> object:
        """Read what a person typed; raises ValueError, saying what is needed."""
        text = texts[0].strip()
        match self.kind:
            case "texts" if [one.strip().casefold() for one in texts] in (["none"], [""]):
                return ()
            case "texts":
                return tuple(self.convert(one) for one in texts)
            case "choice":
                value: object = _whole(text) if isinstance(self.choices[0], int) else text
                if value not in self.choices:
                    raise ValueError(f"one of {self.listed} is needed, not {text!r}")
                return value
            case "whole":
                return _whole(text)
            case "number":
                return _number(text)
            case "switch":
                return _yes_or_no(text)
            case "name":
                # "" is the usual name.
                try:
                    return "" if _yes_or_no(text) else None
                except ValueError:
                    return text
            case _:
                return text

    def check(self, value: Any) -> None:
        """Raise :class:`InvalidSetting` for a value that cannot work."""
        if value is None and self.default is None:
            return
        if self.kind == "choice":
            _one_of(self.name, value, self.choices)
        elif self.limits is not None:
            _within(self.name, value, self.limits)
            if self.kind == "whole" and type(value) is not int:
                raise InvalidSetting(self.name, f"{self.name} must be a whole number")
        elif self.kind == "switch":
            _one_of(self.name, value, (False, True))
        else:
            many = self.kind == "texts"
            if not isinstance(value, tuple if many else str):
                # Not the value: it may be a secret.
                raise InvalidSetting(
                    self.name, f"{self.name} must be {'texts' if many else 'text'}"
                )
            for text in (value if many else (value,)) if self.what else ():
                _text(self.name, self.what, text, self.longest)

    @property
    def takes(self) -> str:
        """What can be given, in a few words."""
        match self.kind:
            case "choice":
                return f"{self.listed} {self.unit}".rstrip()
            case "switch":
                return "yes or no"
            case "name":
                return "a name, yes or no"
            case "whole" | "number" if self.limits is not None:
                low, high = self.limits
                return f"{low:g} to {high:.7g} {self.unit}".rstrip()
            case "texts":
                return f"{self.metavar}, several"
            case _:
                return self.metavar

    @property
    def usual(self) -> str:
        """The default in words; empty where that is no."""
        if self.default is None or self.unset:
            return self.unset
        if isinstance(self.default, tuple):
            return ", ".join(str(one) for one in self.default)
        return "" if self.default is False else str(self.default).removesuffix(".0")

    @property
    def listed(self) -> str:
        """The choices, one after the other."""
        return ", ".join(str(one) for one in self.choices)


def setting(default: Any, purpose: str, kind: Kind = "text", group: str = "", **more: Any) -> Any:
    """Declare a field of a settings class; *more* are fields of :class:`Setting`."""
    kind = "choice" if "choices" in more else kind
    known = Setting(default=default, help=purpose, group=group, kind=kind, **more)
    return dataclasses.field(default=default, metadata={"setting": known}, repr=not known.secret)


@functools.cache
def settings_of(kind: type[Any]) -> Mapping[str, Setting]:
    """Return the settings that a class declares, by name, in its order."""
    found = {one.name: one.metadata["setting"] for one in dataclasses.fields(kind) if one.metadata}
    return {
        name: dataclasses.replace(known, name=name, option=known.option or name)
        for name, known in found.items()
    }


class Checked:
    """A settings class: all that is declared is checked when it is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Raise :class:`InvalidSetting`, naming the field, for a value that cannot work."""
        for name, known in settings_of(cast("Any", type(self))).items():
            known.check(getattr(self, name))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a number is needed, not {text!r}") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"a whole number is needed, not {text!r}") from None


def _yes_or_no(text: str) -> bool:
    word = text.casefold()
    if word not in _YES | _NO:
        raise ValueError(f"yes or no is needed, not {text!r}")
    return word in _YES


def _one_of(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    # bool is an int: True would pass as the rate 1 elsewhere, so types are compared too.
    if not any(value == one and type(value) is type(one) for one in allowed):
        names = ", ".join(str(one) for one in allowed)
        raise InvalidSetting(name, f"{name} must be one of {names}, not {value!r}")


def _within(name: str, value: object, limits: tuple[float, float]) -> None:
    low, high = limits
    # bool is an int, and NaN is within no limits.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InvalidSetting(name, f"{name} must be between {low:g} and {high:.7g}, not {value!r}")


def _text(name: str, what: str, value: object, longest: int) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidSetting(name, f"{what} must not be blank")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise InvalidSetting(name, f"{what} must be text on one line: {value[:30]!r}")
    if len(value) > longest:
        raise InvalidSetting(
            name, f"{what} must have at most {longest} characters: {value[:30]!r}…"
        )
