"""A local Flux without a socket: answers upgrade requests, and records what arrived."""

import dataclasses
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from . import faults as fault_kinds
from . import upgrade
from .faults import ConnectLate, Fault, Refuse
from .parameters import StreamParameters
from .profiles import PROFILES, Profile, ProfileName
from .recognizer import Recognizer
from .script import SECONDS_PER_WORD, ScriptedTurn, ScriptRecognizer
from .session import FluxSession, Traffic
from .upgrade import Refusal, UpgradeRequest

RecognizerFactory = Callable[[StreamParameters], Recognizer]
"""Makes the recognizer of one connection; must not block (see :attr:`.Recognizer.blocking`)."""
RecognizerName = Literal["script", "local"]
Observer = Callable[["Upgrade", str], None]
"""Gets one line of text for each thing that happens on a connection; from the thread of the
recognizer, where that is :attr:`~.Recognizer.blocking`."""

MAX_CONNECTIONS: Final = 1000
"""So many are remembered; older ones are forgotten."""
MAX_STREAMS: Final = 1000
"""So many are open at once with a script."""
MAX_DECODERS: Final = 8
"""So many are open at once with a recognizer that decodes: what two cores can do in time."""

DEFAULT_SCRIPT = (ScriptedTurn.of("turn on the living room light"),)


@dataclass(slots=True)
class Upgrade(Traffic):
    """What arrived with one upgrade request, and what went over its connection."""

    number: int = 0
    """Counted from 1, refused ones included."""
    request: UpgradeRequest = field(default_factory=lambda: UpgradeRequest("/"))
    request_id: str = ""
    answer_delay: float = 0.0
    """Seconds by which the answer is to be late."""
    refused: int | None = None
    """HTTP status of the refusal."""
    parameters: StreamParameters | None = None

    @property
    def path(self) -> str:
        """Path of the request."""
        return self.request.path

    @property
    def query(self) -> list[tuple[str, str]]:
        """Query of the request, in its order."""
        return self.request.query


class LocalFlux:
    """A local Flux: :meth:`open` makes a session of a request, or refuses it."""

    def __init__(
        self,
        *,
        profile: ProfileName | Profile = "workers-ai",
        recognizer: RecognizerName | RecognizerFactory = "script",
        script: Iterable[ScriptedTurn | str] = DEFAULT_SCRIPT,
        seconds_per_word: float = SECONDS_PER_WORD,
        misheard: Mapping[str, str] = MappingProxyType({}),
        ingest_rate: float = 1.25,
        faults: Sequence[Fault] = (),
        token: str | None = None,
        keep: bool = True,
        max_streams: int | None = None,
        observe: Observer | None = None,
    ) -> None:
        """Prepare a Flux.

        ``recognizer`` is a name or makes one per connection; ``script``, ``seconds_per_word`` and
        ``misheard`` belong to ``script``. ``ingest_rate`` is times real time, 0 unlimited. Only
        requests with ``token`` are let in, where it is given. ``keep``: record all audio and
        messages. Beyond ``max_streams`` open at once requests get 503; None: :data:`MAX_STREAMS`,
        or :data:`MAX_DECODERS` for ``local``. Raises ValueError for unknown names.
        """
        self.profile = _profile(profile)
        self.connections: list[Upgrade] = []
        self.faults = list(faults)  # may be changed between connections
        self._recognizer = _factory(recognizer, tuple(script), seconds_per_word, misheard)
        self._observe = observe or (lambda upgrade, line: None)
        self._ingest_rate = ingest_rate
        self.token = token  # and so may this
        self._keep = keep
        decodes = recognizer == "local"
        self._max_streams = max_streams or (MAX_DECODERS if decodes else MAX_STREAMS)
        # Weak: a client may go between its upgrade and its first frame.
        self._sessions: weakref.WeakSet[FluxSession] = weakref.WeakSet()
        self._count = 0

    def open(self, request: UpgradeRequest) -> tuple[Upgrade, FluxSession | Refusal]:
        """Answer an upgrade request; the answer is due after :attr:`Upgrade.answer_delay`."""
        self._count += 1
        this = Upgrade(number=self._count, request=request, request_id=str(uuid.uuid4()))
        self.connections.append(this)
        del self.connections[:-MAX_CONNECTIONS]
        faults = self.faults_for(this)
        late = sum(one.seconds for one in faults if isinstance(one, ConnectLate))
        this.answer_delay = self.profile.upgrade_delay + late
        answer = self._answer(this, faults)
        if isinstance(answer, Refusal):
            this.refused = answer.status
            self._observe(this, f"refused with {answer.status}: {answer.body.decode()}")
            return this, answer
        this.parameters = answer
        self._observe(this, f"connected at {this.path}: {_shown(answer)}")
        session = FluxSession(
            answer,
            dataclasses.replace(self.profile, **fault_kinds.changes(faults)),
            self._recognizer(answer),
            request_id=this.request_id,
            ingest_rate=self._ingest_rate,
            faults=faults,
            traffic=this,
            keep=self._keep,
            observe=lambda line: self._observe(this, line),
        )
        self._sessions.add(session)
        return this, session

    def faults_for(self, upgrade: Upgrade) -> tuple[Fault, ...]:
        """Return what goes wrong with this connection; asked once for each."""
        return fault_kinds.for_connection(self.faults, upgrade.number)

    def _answer(self, this: Upgrade, faults: Sequence[Fault]) -> StreamParameters | Refusal:
        if (refuse := fault_kinds.first(Refuse, faults)) is not None:
            return upgrade.refuse(refuse, self.profile, this.request_id)
        busy = sum(not one.closed for one in self._sessions)
        if busy >= self._max_streams:
            full = Refuse(status=503, code=_FULL[self.profile.base], message="Out of capacity.")
            return upgrade.refuse(full, self.profile, this.request_id)
        return upgrade.decide(
            this.request, self.profile, request_id=this.request_id, token=self.token
        )


_FULL: Final[dict[ProfileName, str]] = {"workers-ai": "3040", "deepgram": "SERVICE_UNAVAILABLE"}


def _profile(profile: ProfileName | Profile) -> Profile:
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}")
    return PROFILES[profile]


def _factory(
    recognizer: RecognizerName | RecognizerFactory,
    script: tuple[ScriptedTurn | str, ...],
    seconds_per_word: float,
    misheard: Mapping[str, str],
) -> RecognizerFactory:
    if callable(recognizer):
        return recognizer
    match recognizer:
        case "script":
            return lambda asked: ScriptRecognizer(
                script,
                seconds_per_word=seconds_per_word,
                misheard=misheard,
                keyterms=asked.keyterms,
            )
        case "local":
            from .local import LocalRecognizer

            return lambda parameters: LocalRecognizer(parameters.sample_rate)
    raise ValueError(f"there is no recognizer {recognizer!r}")


def _shown(parameters: StreamParameters) -> str:
    """Return what differs from the defaults."""
    plain = StreamParameters(sample_rate=0)
    values = (
        (field.name, getattr(parameters, field.name)) for field in dataclasses.fields(parameters)
    )
    return ", ".join(f"{name}={value}" for name, value in values if value != getattr(plain, name))
