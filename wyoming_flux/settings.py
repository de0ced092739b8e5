"""Every setting, once: its default, range, unit and kind, and one line on what it is for.

Flags, variables, the forms of Home Assistant and the reference page are loops over these fields. To
add an option: one field here, and two texts in Home Assistant's ``en.json`` if its form shows it.

Ranges are Deepgram's (``/v2/listen`` reference, 2026-08-28); Cloudflare documents a narrower
``eot_threshold`` (0.5 to 0.9), which its endpoint checks itself.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self, get_args

from .address import (
    NEARBY,
    Address,
    Network,
    home_assistant_url,
    parse_network,
    parse_uri,
)
from .declare import Checked, setting
from .errors import InvalidSetting

Sensitivity = Literal["relaxed", "default", "aggressive"]
AnswerOn = Literal["end-of-turn", "audio-stop"]
Model = Literal["flux-general-en", "flux-general-multi"]
Route = Literal["auto", "worker", "workers-ai", "ai-gateway", "deepgram"]
LogFormat = Literal["text", "json"]
ENCODING: Final = "linear16"
SAMPLE_RATES: Final = (8000, 16000, 24000, 44100, 48000)
DEFAULT_SAMPLE_RATE: Final = 16000
MODELS: Final[tuple[Model, ...]] = get_args(Model)


class Preset(NamedTuple):
    """What a sensitivity stands for."""

    eot_threshold: float
    eot_timeout_ms: int
    hold: int


SENSITIVITIES: Final[dict[Sensitivity, Preset]] = {
    "relaxed": Preset(0.85, 4000, 0),
    "default": Preset(0.7, 2000, 0),
    "aggressive": Preset(0.6, 1000, 0),
}

MAX_KEYTERMS: Final = 100
MAX_KEYTERM_CHARACTERS: Final = 100

DEFAULT_WAKE_PHRASES: Final = (
    "okay nabu",
    "ok nabu",
    "nabu",
    "hey jarvis",
    "jarvis",
    "hey mycroft",
    "alexa",
)

# The parts of the command line's help, and of the reference page.
WHERE: Final = "where Flux is"
WHAT: Final = "what Flux listens for"
WHEN: Final = "when the answer is given"
SERVING: Final = "the server"
RUNNING: Final = "running"
GROUPS: Final = (WHERE, WHAT, WHEN, SERVING, RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSettings(Checked):
    """What only a program needs that a person starts: where Flux is, and how it runs."""

    worker_url: str | None = setting(
        None,
        "your Worker (https://flux.ACCOUNT.workers.dev), Workers AI, AI Gateway or Deepgram",
        group=WHERE,
        metavar="URL",
    )
    token: str | None = setting(
        None, "the token of the Worker or the API key", group=WHERE, metavar="TEXT", secret=True
    )
    headers: tuple[str, ...] = setting(
        (),
        "extra request headers, one 'Name: value' per line (Cloudflare Access)",
        "texts",
        group=WHERE,
        option="header",
        metavar="'Name: value'",
        secret=True,
    )
    route: Route = setting(
        "auto",
        "what the URL leads to (auto: by its host)",
        group=WHERE,
        choices=get_args(Route),
        metavar="ROUTE",
    )
    keyterms_file: str | None = setting(
        None, "file with key terms, one per line", group=WHAT, metavar="PATH"
    )
    log_format: LogFormat = setting(
        "text",
        "how the log is written (json: one object per line)",
        group=RUNNING,
        choices=get_args(LogFormat),
        metavar="FORMAT",
    )
    debug: bool = setting(False, "log more, transcripts included", "switch", group=RUNNING)
    quiet: bool = setting(False, "log warnings and errors alone", "switch", group=RUNNING)

    def __post_init__(self) -> None:
        """Check every value, and those that contradict each other."""
        Checked.__post_init__(self)
        if self.debug and self.quiet:
            raise InvalidSetting("quiet", "it contradicts --debug")


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackSettings(Checked):
    """Who is asked where Flux cannot be used."""

    fallback: tuple[str, ...] = setting(
        (),
        "who is asked next where Flux fails: local (the ear on this machine), the URL of another"
        " Flux, or tcp://HOST:PORT of another Wyoming engine",
        "texts",
        group=WHERE,
        what="a fallback",
        longest=2000,
        metavar="URI",
    )
    fallback_token: tuple[str, ...] = setting(
        (),
        "the tokens of the fallbacks with a URL, one per line in the same order; - for none",
        "texts",
        group=WHERE,
        metavar="TEXT",
        secret=True,
    )
    local: bool = setting(
        False,
        "hear on this machine: without a Worker alone, else as the last fallback",
        "switch",
        group=WHERE,
    )
    local_model: str | None = setting(
        None,
        "folder with a bigger Moonshine model",
        group=WHERE,
        unset="the small English one",
        metavar="DIR",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxSettings(Checked):
    """What one Flux stream is asked for.

    Raises :class:`InvalidSetting`, naming the field, for a value that Flux would refuse.
    """

    sample_rate: int = setting(
        DEFAULT_SAMPLE_RATE,
        "rate of the stream",
        group=WHAT,
        choices=SAMPLE_RATES,
        unit="Hz",
        metavar="HZ",
    )
    model: Model = setting(
        "flux-general-en",
        "model; the multilingual one at Deepgram alone",
        group=WHAT,
        choices=MODELS,
        metavar="NAME",
    )
    language: str | None = setting(
        None,
        "language to expect with flux-general-multi",
        group=WHAT,
        unset="Flux finds out",
        metavar="TAG",
    )
    keyterms: tuple[str, ...] = setting(
        (),
        "a name or word to listen for",
        "texts",
        group=WHAT,
        option="keyterm",
        what="a key term",
        longest=MAX_KEYTERM_CHARACTERS,
        metavar="TERM",
    )
    mip_opt_out: bool = setting(
        False, "keep the audio out of Deepgram's model improvement programme", "switch", group=WHAT
    )
    tag: str | None = setting(
        None, "label in the usage report", group=WHAT, what="the tag", longest=128, metavar="TEXT"
    )
    sensitivity: Sensitivity = setting(
        "default",
        "how soon the end of speech is believed",
        group=WHEN,
        choices=tuple(SENSITIVITIES),
        metavar="PRESET",
    )
    eot_threshold: float | None = setting(
        None,
        "confidence that ends a turn; Cloudflare documents up to 0.9",
        "number",
        group=WHEN,
        limits=(0.5, 1.0),
        step=0.01,
        unset="the preset's",
    )
    eot_timeout_ms: int | None = setting(
        None,
        "silence that ends a turn in any case",
        "whole",
        group=WHEN,
        limits=(500, 60_000),
        step=100,
        unit="ms",
        unset="the preset's",
    )
    eager_eot_threshold: float | None = setting(
        None,
        "confidence of an early guess at the end",
        "number",
        group=WHEN,
        limits=(0.3, 0.9),
        step=0.01,
        unset="no such guesses",
    )

    def __post_init__(self) -> None:
        """Check every value, and those that depend on each other."""
        # Not super(): a class with slots is made anew, and the cell still holds the old one.
        Checked.__post_init__(self)
        eager = self.eager_eot_threshold
        if eager is not None and eager > self.effective_eot_threshold:
            raise InvalidSetting(
                "eager_eot_threshold",
                f"eager_eot_threshold ({eager:g}) must not be above"
                f" eot_threshold ({self.effective_eot_threshold:g})",
            )
        if len(self.keyterms) > MAX_KEYTERMS:
            raise InvalidSetting("keyterms", f"at most {MAX_KEYTERMS} key terms are possible")

    @property
    def effective_eot_threshold(self) -> float:
        """The confidence in force: the explicit one, else the preset's."""
        if self.eot_threshold is not None:
            return self.eot_threshold
        return SENSITIVITIES[self.sensitivity].eot_threshold

    @property
    def effective_eot_timeout_ms(self) -> int:
        """The timeout in force in milliseconds: the explicit one, else the preset's."""
        if self.eot_timeout_ms is not None:
            return self.eot_timeout_ms
        return SENSITIVITIES[self.sensitivity].eot_timeout_ms

    def with_sensitivity(self, sensitivity: Sensitivity) -> Self:
        """Return these settings with another preset; explicit thresholds stay in force.

        Where the preset's ``eot_threshold`` is below ``eager_eot_threshold``, which Flux would
        refuse, the latter is lowered to it.
        """
        eager = self.eager_eot_threshold
        if eager is not None and self.eot_threshold is None:
            eager = min(eager, SENSITIVITIES[sensitivity].eot_threshold)
        return dataclasses.replace(self, sensitivity=sensitivity, eager_eot_threshold=eager)

    def with_keyterms(self, keyterms: Iterable[str]) -> Self:
        """Return these settings with other key terms."""
        return dataclasses.replace(self, keyterms=tuple(keyterms))


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSettings(Checked):
    """Where the names of the home come from. Raises :class:`InvalidSetting`, naming the field."""

    home_assistant: str | None = setting(
        None,
        "your Home Assistant, whose names of areas and devices are sent to Flux",
        group=WHAT,
        unset="no names",
        metavar="URL",
    )
    home_assistant_token: str | None = setting(
        None,
        "a long-lived access token of an administrator there",
        group=WHAT,
        metavar="TEXT",
        secret=True,
    )

    def __post_init__(self) -> None:
        """Check both, and that there is not one without the other."""
        Checked.__post_init__(self)
        url, token = self.home_assistant, self.home_assistant_token
        if (url is None) is not (token is None):
            name = "home_assistant_token" if url is None else "home_assistant"
            raise InvalidSetting(
                name, "Home Assistant needs both: --home-assistant, --home-assistant-token-file"
            )
        if url is not None:
            home_assistant_url(url)
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise InvalidSetting(
                "home_assistant_token",
                "the token must be one word of plain characters: check that it is all of it",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceSettings(Checked):
    """How one utterance is answered. Raises :class:`InvalidSetting`, naming the field."""

    answer_on: AnswerOn = setting(
        "end-of-turn",
        "when to answer (audio-stop: all that was said until the client ends)",
        group=WHEN,
        choices=get_args(AnswerOn),
        metavar="WHEN",
    )
    no_speech_timeout: float = setting(
        8.0,
        "audio without any words after which the answer is empty; not with audio-stop",
        "number",
        group=WHEN,
        limits=(1.0, 300.0),
        step=0.5,
        unit="s",
    )
    max_turn: float = setting(
        20.0,
        "longest turn from its first word on; not with audio-stop",
        "number",
        group=WHEN,
        limits=(1.0, 600.0),
        unit="s",
    )
    hold: int | None = setting(
        None,
        "how long after the end of a turn the answer waits, in case the speaker goes on",
        "whole",
        group=WHEN,
        limits=(0, 2000),
        step=100,
        unit="ms",
        unset="the preset's",
    )
    wake_phrases: tuple[str, ...] = setting(
        DEFAULT_WAKE_PHRASES,
        "left out where the text begins with it; 'none' for none",
        "texts",
        group=WHEN,
        option="wake_phrase",
        what="a wake phrase",
        metavar="PHRASE",
    )

    def effective_hold(self, sensitivity: Sensitivity) -> int:
        """The hold in force in milliseconds: the explicit one, else the preset's."""
        return SENSITIVITIES[sensitivity].hold if self.hold is None else self.hold


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSettings(Checked):
    """What is kept of each utterance, for a look at it afterwards."""

    capture: str | None = setting(
        None,
        "keep the last 50 utterances there, audio included, for wyoming-flux show",
        group=RUNNING,
        unset="nothing is kept",
        metavar="DIR",
    )
    capture_text_only: bool = setting(
        False, "with --capture: keep no audio", "switch", group=RUNNING
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(Checked):
    """How a server behaves. Raises :class:`InvalidSetting`, naming the field."""

    uri: str = setting(
        "tcp://0.0.0.0:10300",
        "where to listen: tcp://HOST:PORT or unix:///PATH",
        group=SERVING,
        metavar="URI",
    )
    name: str = setting(
        "flux",
        "name of the engine in Home Assistant",
        group=SERVING,
        what="the name",
        metavar="NAME",
    )
    allow: tuple[Network, ...] = setting(
        NEARBY,
        "a network whose clients may connect",
        "texts",
        group=SERVING,
        unset="private networks",
        convert=parse_network,
        metavar="CIDR",
    )
    max_connections: int = setting(
        64,
        "most clients at once",
        "whole",
        group=SERVING,
        limits=(1, 10_000),
        metavar="N",
    )
    daily_minutes: float | None = setting(
        None,
        "audio that may be sent to Flux per day, until 00:00 UTC",
        "number",
        group=SERVING,
        limits=(0.01, 100_000),
        step="any",
        unit="min",
        unset="no limit",
    )
    external_vad: bool = setting(
        False, "let Home Assistant detect the end of speech, too", "switch", group=SERVING
    )
    zeroconf: str | None = setting(
        None,
        "announce the server in the local network, under NAME",
        "name",
        group=SERVING,
        metavar="NAME",
    )
    debug: bool = False
    """Whether transcripts may be logged."""

    def __post_init__(self) -> None:
        """Check every value."""
        Checked.__post_init__(self)
        _ = self.address
        for network in self.allow:
            if not isinstance(network, Network):
                raise InvalidSetting("allow", f"allow needs networks, not {network!r}")

    @property
    def address(self) -> Address:
        """The parsed ``uri``; raises :class:`InvalidSetting` (``uri``)."""
        return parse_uri(self.uri)
