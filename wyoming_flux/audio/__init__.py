"""PCM: what comes in, and how it becomes what Flux takes."""

from .convert import Converter, prepare
from .format import FRAME_MS, INPUT_RATES, AudioFormat
from .intake import Intake, PcmReader
from .level import Level
from .wav import WavReader, is_wav, name_of

__all__ = [
    "FRAME_MS",
    "INPUT_RATES",
    "AudioFormat",
    "Converter",
    "Intake",
    "Level",
    "PcmReader",
    "WavReader",
    "is_wav",
    "name_of",
    "prepare",
]
