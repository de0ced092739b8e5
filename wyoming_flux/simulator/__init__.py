"""A local Flux: the same wire, its own recognizer; only for trying out and testing."""

from .flux import LocalFlux, Upgrade
from .parameters import StreamParameters
from .profiles import DEEPGRAM, PROFILES, WORKERS_AI, Profile
from .recognizer import Recognizer
from .script import Part, ScriptedTurn, ScriptRecognizer
from .serve import Simulator
from .session import Close, FluxSession, Traffic
from .upgrade import Refusal, UpgradeRequest

__all__ = [
    "DEEPGRAM",
    "PROFILES",
    "WORKERS_AI",
    "Close",
    "FluxSession",
    "LocalFlux",
    "Part",
    "Profile",
    "Recognizer",
    "Refusal",
    "ScriptRecognizer",
    "ScriptedTurn",
    "Simulator",
    "StreamParameters",
    "Traffic",
    "Upgrade",
    "UpgradeRequest",
]
