"""The one list of all options: what they are called, what they take, and what they are for.

Each is a flag (``--worker-url``), an environment variable (``WYOMING_FLUX_WORKER_URL``) and a
variable that names a file with the value (``WYOMING_FLUX_WORKER_URL_FILE``). Secrets have no flag
for the value: anybody can read the command lines of others.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from wyoming_flux import settings

PREFIX: Final = "WYOMING_FLUX_"
FILE_SUFFIX: Final = "_FILE"

SERVE: Final = "serve"
TRANSCRIBE: Final = "transcribe"
CHECK: Final = "check"
HEALTH: Final = "health"

_FLUX: Final = frozenset({SERVE, TRANSCRIBE, CHECK})
_TURN: Final = frozenset({SERVE, TRANSCRIBE})
_SERVER: Final = frozenset({SERVE})
_ALL: Final = frozenset({SERVE, TRANSCRIBE, CHECK, HEALTH})

WHERE: Final = "where Flux is"
WHAT: Final = "what Flux listens for"
WHEN: Final = "when the answer is given"
SERVING: Final = "the server"
RUNNING: Final = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option."""

    name: str
    """Name in the settings; ``_`` becomes ``-`` in the flag."""
    group: str
    help: str
    """For ``--help``: half a line, with the default where that is not obvious."""
    convert: Callable[[str], object] = str
    """Raises ValueError, saying what is expected."""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    many: bool = False
    """May be given several times; a variable separates values by commas or lines."""
    switch: bool = False
    """Takes no value on the command line; a variable takes yes or no."""
    optional_value: bool = False
    """The value may be left out on the command line; a variable then takes yes or no."""
    secret: bool = False
    """The flag names a file; values are never shown."""
    commands: Collection[str] = _SERVER

    @property
    def flag(self) -> str:
        """The flag, with ``-file`` for a secret."""
        return f"--{self.name.replace('_', '-')}{'-file' if self.secret else ''}"

    @property
    def variable(self) -> str:
        """The environment variable of the value itself."""
        return PREFIX + self.name.upper()

    @property
    def file_variable(self) -> str | None:
        """The variable that names a file; None where the value is the name of a file anyway."""
        return None if self.name.endswith("_file") else self.variable + FILE_SUFFIX


def number(text: str) -> float:
    """Read a number; raises ValueError."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a number is needed, not {text!r}") from None


def whole(text: str) -> int:
    """Read a whole number; raises ValueError."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"a whole number is needed, not {text!r}") from None


_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


def yes_or_no(text: str) -> bool:
    """Read a switch from a variable; raises ValueError."""
    word = text.strip().casefold()
    if word not in _YES | _NO:
        raise ValueError(f"yes or no is needed, not {text!r}")
    return word in _YES


def _presets() -> str:
    return ", ".join(settings.SENSITIVITIES)


OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        name="worker_url",
        group=WHERE,
        metavar="URL",
        help="your Worker (wss://NAME.ACCOUNT.workers.dev), Workers AI, AI Gateway or Deepgram",
        commands=_FLUX,
    ),
    Option(
        name="token",
        group=WHERE,
        metavar="PATH",
        help="file with the token of the Worker or the API key",
        secret=True,
        commands=_FLUX,
    ),
    Option(
        name="header",
        group=WHERE,
        metavar="PATH",
        help="file with extra request headers, one 'Name: value' per line (Cloudflare Access)",
        secret=True,
        many=True,
        commands=_FLUX,
    ),
    Option(
        name="route",
        group=WHERE,
        choices=("auto", "worker", "workers-ai", "ai-gateway", "deepgram"),
        metavar="ROUTE",
        help="auto (by the host), worker, workers-ai, ai-gateway, deepgram",
        commands=_FLUX,
    ),
    Option(
        name="sample_rate",
        group=WHAT,
        convert=whole,
        metavar="HZ",
        help=f"rate of the stream: {', '.join(map(str, settings.SAMPLE_RATES))} (default 16000)",
        commands=_FLUX,
    ),
    Option(
        name="model",
        group=WHAT,
        metavar="NAME",
        help="flux-general-en (default); at Deepgram also flux-general-multi",
        commands=_FLUX,
    ),
    Option(
        name="language",
        group=WHAT,
        metavar="TAG",
        help="language to expect with flux-general-multi (default: Flux finds out)",
        commands=_FLUX,
    ),
    Option(
        name="keyterm",
        group=WHAT,
        metavar="TERM",
        help="a name or word to listen for; repeatable",
        many=True,
        commands=_FLUX,
    ),
    Option(
        name="keyterms_file",
        group=WHAT,
        metavar="PATH",
        help="file with key terms, one per line",
        commands=_FLUX,
    ),
    Option(
        name="mip_opt_out",
        group=WHAT,
        help="keep the audio out of Deepgram's model improvement programme",
        switch=True,
        commands=_FLUX,
    ),
    Option(
        name="tag",
        group=WHAT,
        metavar="TEXT",
        help="label in the usage report",
        commands=_FLUX,
    ),
    Option(
        name="sensitivity",
        group=WHEN,
        metavar="PRESET",
        help=f"how soon the end of speech is believed: {_presets()}",
        commands=_FLUX,
    ),
    Option(
        name="eot_threshold",
        group=WHEN,
        convert=number,
        metavar="0.5..1",
        help="confidence that ends a turn, instead of the preset's",
        commands=_FLUX,
    ),
    Option(
        name="eot_timeout_ms",
        group=WHEN,
        convert=whole,
        metavar="MS",
        help="silence that ends a turn in any case, instead of the preset's",
        commands=_FLUX,
    ),
    Option(
        name="eager_eot_threshold",
        group=WHEN,
        convert=number,
        metavar="0.3..0.9",
        help="confidence of an early guess at the end (default: no such guesses)",
        commands=_FLUX,
    ),
    Option(
        name="answer_on",
        group=WHEN,
        metavar="WHEN",
        help="end-of-turn (default), or audio-stop: all that was said until the client ends",
        commands=_TURN,
    ),
    Option(
        name="no_speech_timeout",
        group=WHEN,
        convert=number,
        metavar="SECONDS",
        help="audio without any words after which the answer is empty (default 8)",
        commands=_TURN,
    ),
    Option(
        name="max_turn",
        group=WHEN,
        convert=number,
        metavar="SECONDS",
        help="longest turn from its first word on (default 20)",
        commands=_TURN,
    ),
    Option(
        name="wake_phrase",
        group=WHEN,
        metavar="PHRASE",
        help="cut off at the start; repeatable, 'none' for none (default: okay nabu, alexa, …)",
        many=True,
        commands=_TURN,
    ),
    Option(
        name="uri",
        group=SERVING,
        metavar="URI",
        help="where to listen: tcp://HOST:PORT or unix:///PATH (default tcp://0.0.0.0:10300)",
        commands=frozenset({SERVE, HEALTH}),
    ),
    Option(
        name="name",
        group=SERVING,
        metavar="NAME",
        help="name of the engine in Home Assistant (default flux)",
    ),
    Option(
        name="allow",
        group=SERVING,
        metavar="CIDR",
        help="network whose clients may connect; repeatable (default: private networks)",
        many=True,
    ),
    Option(
        name="max_connections",
        group=SERVING,
        convert=whole,
        metavar="N",
        help="clients at once (default 64)",
    ),
    Option(
        name="daily_minutes",
        group=SERVING,
        convert=number,
        metavar="MINUTES",
        help="audio that may be sent to Flux per day, until 00:00 UTC (default: any)",
    ),
    Option(
        name="external_vad",
        group=SERVING,
        help="let Home Assistant detect the end of speech, too",
        switch=True,
    ),
    Option(
        name="zeroconf",
        group=SERVING,
        metavar="NAME",
        help="announce the server in the local network, under NAME",
        optional_value=True,
    ),
    Option(
        name="log_format",
        group=RUNNING,
        choices=("text", "json"),
        metavar="FORMAT",
        help="text (default) or json, one object per line",
        commands=_ALL - {HEALTH},
    ),
    Option(
        name="debug",
        group=RUNNING,
        help="log more, transcripts included",
        switch=True,
        commands=_ALL - {HEALTH},
    ),
)

BY_NAME: Final = {option.name: option for option in OPTIONS}

OTHER_VARIABLES: Final[frozenset[str]] = frozenset()
"""Variables with our prefix that are no options."""


def options_of(command: str) -> tuple[Option, ...]:
    """Return the options that *command* takes."""
    return tuple(option for option in OPTIONS if command in option.commands)
