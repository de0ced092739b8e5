"""What was set, on the command line, in the environment or in a file, in this order.

Variables fill in what the line does not say after it was parsed, not before, as its defaults: so a
wrong variable neither spoils ``--help`` nor a flag that wins over it, and each value knows where it
is from.
"""

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from wyoming_flux import keyterms
from wyoming_flux.declare import Setting, settings_of
from wyoming_flux.errors import InvalidSetting, os_reason
from wyoming_flux.settings import CaptureSettings, FluxSettings, ProgramSettings

from .options import PREFIX, SETTINGS, file_variable_of, flag_of, variable_of

if TYPE_CHECKING:
    from wyoming_flux.flux import Endpoint
    from wyoming_flux.utterance import Capture

_MAX_FILE: Final = 256 * 1024

T = TypeVar("T")


@dataclass(slots=True)
class Given:
    """Settings that were given, by name; those that were not are absent."""

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    sources: dict[str, str] = field(default_factory=dict)
    """Flag or variable from which a setting came."""

    def make(self, kind: Callable[..., T], **usual: Any) -> T:
        """Return settings of a class; *usual* are other defaults. Raises InvalidSetting."""
        names = settings_of(cast("Any", kind))
        given = {name: value for name, value in self.values.items() if name in names}
        return kind(**{**usual, **given})

    def endpoint(self) -> "Endpoint":
        """Return where Flux is. Raises :class:`InvalidSetting`."""
        # Not every command needs the WebSocket library that comes with it.
        from wyoming_flux.flux import Endpoint

        program = self.make(ProgramSettings)
        if program.worker_url is None:
            raise InvalidSetting(
                "",
                "the URL of your Worker is missing: give --worker-url"
                " https://flux.ACCOUNT.workers.dev, or set WYOMING_FLUX_WORKER_URL",
            )
        return Endpoint.from_url(
            program.worker_url,
            route=program.route,
            token=program.token,
            headers=_headers(program.headers),
        )

    def flux(self) -> tuple[FluxSettings, int]:
        """Return the settings of a stream, and how many key terms did not fit.

        Raises :class:`InvalidSetting`.
        """
        path = self.values.get("keyterms_file")
        merged = keyterms.merge(
            keyterms.split(self.values.get("keyterms", ())),
            keyterms.read_file(path) if path is not None else (),
        )
        others = {name: value for name, value in self.values.items() if name != "keyterms"}
        return Given(others).make(FluxSettings, keyterms=merged.terms), merged.cut

    @contextlib.contextmanager
    def capture(self) -> "Iterator[Capture | None]":
        """Give what keeps utterances, if it was asked for; wait for the disk afterwards."""
        settings = self.make(CaptureSettings)
        if settings.capture is None:
            yield None
            return
        from wyoming_flux.utterance import Capture

        with contextlib.closing(
            Capture(Path(settings.capture), audio=not settings.capture_text_only)
        ) as capture:
            yield capture

    def explain(self, error: InvalidSetting) -> str:
        """Return the error's sentence, beginning with the flag or variable that is to blame."""
        setting = SETTINGS["serve"].get(error.name)
        if setting is None:
            return str(error)
        # Elsewhere the sentence stands alone, so that it names the setting itself.
        sentence = str(error).removeprefix(f"{error.name} ")
        return f"{self.sources.get(error.name, flag_of(setting))}: {sentence}"


def collect(
    settings: Mapping[str, Setting], line: Mapping[str, Any], environment: Mapping[str, str]
) -> Given:
    """Collect *settings*. Raises :class:`InvalidSetting` with a whole sentence."""
    given = Given()
    for name, setting in settings.items():
        found = _from_line(setting, line) or _from_environment(setting, environment)
        if found is None:
            continue
        source, texts = found
        try:
            given.values[name] = setting.parse(texts)
        except ValueError as error:
            raise InvalidSetting("", f"{source}: {error}") from None
        given.sources[name] = source
    return given


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return one warning for each variable that has our prefix and means nothing."""
    every = SETTINGS["serve"].values()
    known = {name for one in every for name in (variable_of(one), file_variable_of(one)) if name}
    warnings = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            warnings.append(f"the variable {name} is not known and has no effect{hint}")
    return warnings


def _from_line(setting: Setting, line: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    given = line.get(setting.name)
    if given is None:
        return None
    flag = flag_of(setting)
    if setting.secret:
        return flag, _split(setting, _read_file(flag, given))
    return flag, given if isinstance(given, list) else [given]


def _from_environment(
    setting: Setting, environment: Mapping[str, str]
) -> tuple[str, list[str]] | None:
    variable, file_variable = variable_of(setting), file_variable_of(setting)
    # An empty variable is how compose files and unit files say "not set".
    value = environment.get(variable, "").strip()
    path = environment.get(file_variable, "").strip() if file_variable else ""
    if value and path:
        raise InvalidSetting("", f"{variable} and {file_variable} are both set; keep one of them")
    if value:
        return variable, _split(setting, value)
    if path and file_variable:
        return file_variable, _split(setting, _read_file(file_variable, path))
    return None


def _read_file(source: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidSetting("", f"{source}: the file {path} is not text") from None
    except (OSError, ValueError) as error:
        raise InvalidSetting(
            "", f"{source}: the file {path} cannot be read: {os_reason(error)}"
        ) from None
    if len(content) > _MAX_FILE:
        raise InvalidSetting("", f"{source}: the file {path} is too large")
    if not text.strip():
        raise InvalidSetting("", f"{source}: the file {path} is empty")
    return text.strip()


def _split(setting: Setting, text: str) -> list[str]:
    if setting.kind != "texts":
        return [text]
    # Values of headers may hold commas.
    lines = text.splitlines() if setting.secret else text.replace(",", "\n").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _headers(lines: tuple[str, ...]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, colon, value = line.partition(":")
        if not colon:
            # The line itself may be a secret.
            raise InvalidSetting("headers", f"line {number} is not a header like 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers
