"""Settings are validated once, at the door."""

from typing import Any

import pytest

from wyoming_flux import errors
from wyoming_flux.errors import InvalidSetting, WyomingFluxError
from wyoming_flux.settings import FluxSettings, UtteranceSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate", 22050),
        ("sample_rate", True),
        ("sample_rate", "16000"),
        ("sensitivity", "high"),
        ("eot_threshold", 0.49),
        ("eot_threshold", 1.01),
        ("eot_threshold", float("nan")),
        ("eot_threshold", "0.7"),
        ("eot_threshold", True),
        ("eager_eot_threshold", 0.29),
        ("eager_eot_threshold", 0.91),
        ("eot_timeout_ms", 499),
        ("eot_timeout_ms", 60001),
        ("eot_timeout_ms", 1000.5),
        ("keyterms", ("",)),
        ("keyterms", ("x" * 101,)),
        ("keyterms", ("x",) * 101),
        ("tag", " "),
        ("tag", "a\nb"),
        ("keyterms", ("a\x00b",)),
        ("tag", "x" * 129),
        ("model", "nova-3"),
    ],
)
def test_flux_refuses_these(name: str, value: Any) -> None:
    """Each value that Flux would refuse is refused here, and the field is named."""
    with pytest.raises(InvalidSetting) as caught:
        FluxSettings(**{name: value})
    assert caught.value.name == name


def test_eager_must_not_be_above() -> None:
    """The early guess cannot need more confidence than the end, preset included."""
    FluxSettings(eager_eot_threshold=0.7)
    with pytest.raises(InvalidSetting, match="eot_threshold"):
        FluxSettings(eager_eot_threshold=0.65, sensitivity="aggressive")
    with pytest.raises(InvalidSetting, match="eot_threshold"):
        FluxSettings(eager_eot_threshold=0.8, eot_threshold=0.75)


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


def test_a_preset_lowers_the_early_guess() -> None:
    """An early guess is never left above the new preset's threshold; an explicit one is kept."""
    guessing = FluxSettings(eager_eot_threshold=0.7)
    assert guessing.with_sensitivity("aggressive").eager_eot_threshold == 0.6
    assert guessing.with_sensitivity("relaxed").eager_eot_threshold == 0.7
    explicit = FluxSettings(eager_eot_threshold=0.7, eot_threshold=0.8)
    assert explicit.with_sensitivity("aggressive").eager_eot_threshold == 0.7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("answer_on", "never"),
        ("no_speech_timeout", 0),
        ("max_turn", float("inf")),
        ("wake_phrases", (" ",)),
    ],
)
def test_turn_settings(name: str, value: Any) -> None:
    """A turn's settings are checked in the same way."""
    with pytest.raises(InvalidSetting) as caught:
        UtteranceSettings(**{name: value})
    assert caught.value.name == name


def test_codes_are_stable_and_drawn() -> None:
    """Each error has the code that the tree at the top of the module draws for it."""
    assert errors.__doc__ is not None
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, WyomingFluxError):
            line = next(one for one in errors.__doc__.splitlines() if f" {name} " in f" {one} ")
            if kind not in (WyomingFluxError, errors.EndpointError):
                assert kind.code in line.split()
