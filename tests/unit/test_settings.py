"""Settings are validated once, at the door."""

from ipaddress import ip_network
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux import errors
from wyoming_flux.cli.environment import Given
from wyoming_flux.declare import Setting, settings_of
from wyoming_flux.errors import InvalidSetting, WyomingFluxError
from wyoming_flux.settings import (
    GROUPS,
    CaptureSettings,
    FallbackSettings,
    FluxSettings,
    HomeSettings,
    ProgramSettings,
    ServerSettings,
    UtteranceSettings,
)

# The ends of each range are tried below.
WRONG: list[tuple[type[Any], str, Any]] = [
    (ProgramSettings, "route", "somewhere"),
    *((ProgramSettings, "debug", one) for one in (1, "yes")),
    *((FluxSettings, "sample_rate", one) for one in (22050, True, "16000", 16000.0)),
    (FluxSettings, "sensitivity", "high"),
    *((FluxSettings, "eot_threshold", one) for one in (float("nan"), "0.7", True)),
    (FluxSettings, "eot_timeout_ms", 1000.5),
    *((FluxSettings, "keyterms", one) for one in (("",), ("x" * 101,), ("x",) * 101, ("a\x00b",))),
    *((FluxSettings, "tag", one) for one in (" ", "a\nb", "x" * 129)),
    (FluxSettings, "model", "nova-3"),
    (UtteranceSettings, "answer_on", "never"),
    (UtteranceSettings, "no_speech_timeout", None),
    (UtteranceSettings, "max_turn", float("inf")),
    *((UtteranceSettings, "hold", one) for one in (500.0, True)),
    (UtteranceSettings, "wake_phrases", (" ",)),
    *((ServerSettings, "name", one) for one in ("", " ", "x" * 101)),
    (ServerSettings, "allow", ("127.0.0.1",)),
    *((ServerSettings, "max_connections", one) for one in (2.0, True)),
    *((ServerSettings, "daily_minutes", one) for one in (0, float("inf"), "60")),
]


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_what_cannot_work_is_refused(kind: type[Any], name: str, value: Any) -> None:
    """Each value that Flux or a server could not use is refused here, and the field is named."""
    with pytest.raises(InvalidSetting) as caught:
        kind(**{name: value})
    assert caught.value.name == name


def test_the_longest_texts_are_possible() -> None:
    """A hundred key terms of a hundred characters, a tag of 128, an address of 2000."""
    FluxSettings(keyterms=("x" * 100,) * 100, tag="x" * 128, mip_opt_out=True)
    FallbackSettings(fallback=("x" * 2000,))
    with pytest.raises(InvalidSetting, match="a fallback must have at most 2000 characters"):
        FallbackSettings(fallback=("x" * 2001,))


def test_eager_must_not_be_above() -> None:
    """The early guess cannot need more confidence than the end, preset included."""
    FluxSettings(eager_eot_threshold=0.7)
    for wrong in ({"sensitivity": "aggressive"}, {"eot_threshold": 0.64}):
        with pytest.raises(InvalidSetting, match="must not be above eot_threshold") as caught:
            FluxSettings(eager_eot_threshold=0.65, **wrong)
        assert caught.value.name == "eager_eot_threshold"


@pytest.mark.parametrize(
    ("sensitivity", "threshold", "timeout"),
    [("relaxed", 0.85, 4000), ("default", 0.7, 2000), ("aggressive", 0.6, 1000)],
)
def test_presets(sensitivity: Any, threshold: float, timeout: int) -> None:
    """A preset sets both values; an explicit one wins and survives another preset."""
    settings = FluxSettings(sensitivity=sensitivity)
    assert settings.effective_eot_threshold == threshold
    assert settings.effective_eot_timeout_ms == timeout
    explicit = FluxSettings(eot_timeout_ms=7000).with_sensitivity(sensitivity)
    assert explicit.effective_eot_threshold == threshold
    assert explicit.effective_eot_timeout_ms == 7000
    assert UtteranceSettings().effective_hold(sensitivity) == 0
    assert UtteranceSettings(hold=300).effective_hold(sensitivity) == 300


def test_a_preset_lowers_the_early_guess() -> None:
    """An early guess is never left above the new preset's threshold; an explicit one is kept."""
    guessing = FluxSettings(eager_eot_threshold=0.7)
    assert guessing.with_sensitivity("aggressive").eager_eot_threshold == 0.6
    assert guessing.with_sensitivity("relaxed").eager_eot_threshold == 0.7
    explicit = FluxSettings(eager_eot_threshold=0.7, eot_threshold=0.8)
    assert explicit.with_sensitivity("aggressive").eager_eot_threshold == 0.7


CLASSES = (
    *(ProgramSettings, FallbackSettings, FluxSettings, HomeSettings),
    *(UtteranceSettings, CaptureSettings, ServerSettings),
)
EVERY = [one for kind in CLASSES for one in settings_of(kind).values()]


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_a_default_is_what_it_says(one: Setting) -> None:
    """Each setting has a place and a purpose; its default passes its own check, a switch is off."""
    one.check(one.default)
    assert one.kind != "switch" or (one.default, one.usual) == (False, "")
    assert one.group in GROUPS
    assert one.help
    assert one.takes
    assert sum(one.option == other.option for other in EVERY) == 1


@pytest.mark.parametrize("one", [one for one in EVERY if one.limits], ids=lambda one: one.name)
def test_both_ends_of_a_range_are_possible(one: Setting) -> None:
    """What is just outside is not, typed or given; a form's steps lead from one to the other."""
    assert one.limits is not None
    low, high = one.limits
    steps = 1 if one.step == "any" else (high - low) / one.step
    assert steps == pytest.approx(round(steps)) != 0
    for end, beyond in zip(one.limits, (-1, 1), strict=True):
        value = one.parse([str(end)])
        one.check(value)
        with pytest.raises(InvalidSetting, match="must be between"):
            one.check(value + beyond)


@pytest.mark.parametrize(
    ("name", "texts", "value"),
    [
        ("sample_rate", [" 8000 "], 8000),
        ("max_turn", ["7.5"], 7.5),
        ("hold", ["500"], 500),
        ("debug", ["Yes"], True),
        ("debug", ["off"], False),
        ("zeroconf", ["yes"], ""),
        ("zeroconf", ["no"], None),
        ("zeroconf", ["kitchen"], "kitchen"),
        ("wake_phrases", ["None"], ()),
        ("wake_phrases", ["hey you", "none"], ("hey you", "none")),
        ("allow", ["10.1.2.3/8"], (ip_network("10.0.0.0/8"),)),
    ],
)
def test_text_is_read(name: str, texts: list[str], value: object) -> None:
    """As people write it."""
    (one,) = (one for one in EVERY if one.name == name)
    assert one.parse(texts) == value


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("sample_rate", "fast", "a whole number is needed, not 'fast'"),
        ("sample_rate", "22050", "one of 8000, 16000, 24000, 44100, 48000 is needed, not '22050'"),
        ("model", "nova", "one of flux-general-en, flux-general-multi is needed, not 'nova'"),
        ("hold", "0.5", "a whole number is needed, not '0.5'"),
        ("max_turn", "long", "a number is needed, not 'long'"),
        ("debug", "maybe", "yes or no is needed, not 'maybe'"),
        ("allow", "moon", "allow needs networks such as 192.168.1.0/24, not 'moon'"),
    ],
)
def test_what_cannot_be_read_is_told(name: str, text: str, sentence: str) -> None:
    """One sentence says what is needed."""
    (one,) = (one for one in EVERY if one.name == name)
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        one.parse([text])


@given(st.sampled_from(EVERY), st.lists(st.text(max_size=40), min_size=1, max_size=3))
def test_any_text_is_a_value_or_told(one: Setting, texts: list[str]) -> None:
    """Whatever a person types becomes a value that is in range, or one line on what is wrong."""
    said, value = "", None
    try:
        value = one.parse(texts)
        one.check(value)
    except ValueError as error:
        said = str(error)
        assert said
    assert said.isprintable()
    assert said or not one.limits or one.limits[0] <= cast("float", value) <= one.limits[1]


anything = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary()),
    st.lists(st.none() | st.integers() | st.text(max_size=8), max_size=3).map(tuple),
)


@given(st.sampled_from([(kind, name) for kind in CLASSES for name in settings_of(kind)]), anything)
def test_any_value_is_taken_or_told(where: tuple[Any, str], value: object) -> None:
    """What a form or a program gives is taken as it is, or refused at its field, in one line."""
    kind, name = where
    told: InvalidSetting | None = None
    try:
        made = kind(**{name: value})
    except InvalidSetting as error:
        told = error
    assert told is None or (told.name == name and str(told).isprintable())
    assert told is not None or getattr(made, name) is value


def test_secrets_are_not_shown() -> None:
    """No token or header is in what is printed of the settings, and no transcript in the log."""
    assert not ServerSettings().debug
    program = ProgramSettings(token="s3cret", headers=("X: s3cret",))
    assert "s3cret" not in repr(program)
    assert "s3cret" not in repr(Given({"token": "s3cret"}))


def test_codes_are_stable_and_drawn() -> None:
    """Each error has the code that the tree at the top of the module draws for it."""
    assert errors.__doc__ is not None
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, WyomingFluxError):
            line = next(one for one in errors.__doc__.splitlines() if f" {name} " in f" {one} ")
            if kind not in (WyomingFluxError, errors.EndpointError):
                assert kind.code in line.split()
