"""A local Flux: the same wire, its own recognizer; only for trying out and testing."""

from .coded import CodedRecognizer, speak
from .handshake import Accepted, Refusal, Request
from .parameters import StreamParameters
from .profiles import DEEPGRAM, PROFILES, WORKERS_AI, Profile
from .recognizer import Part, Recognizer, ScriptedTurn, ScriptRecognizer
from .server import Simulator
from .service import Connection, Service
from .session import Session, Traffic
from .transport import MemoryTransport, Transport, TransportClosed, memory_pair

__all__ = [
    "DEEPGRAM",
    "PROFILES",
    "WORKERS_AI",
    "Accepted",
    "CodedRecognizer",
    "Connection",
    "MemoryTransport",
    "Part",
    "Profile",
    "Recognizer",
    "Refusal",
    "Request",
    "ScriptRecognizer",
    "ScriptedTurn",
    "Service",
    "Session",
    "Simulator",
    "StreamParameters",
    "Traffic",
    "Transport",
    "TransportClosed",
    "memory_pair",
    "speak",
]
