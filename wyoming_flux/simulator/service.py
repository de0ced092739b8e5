"""The simulator without a socket: upgrades, sessions, and a record of what arrived."""

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from . import faults as fault_kinds
from . import handshake
from .coded import CodedRecognizer
from .faults import ConnectLate, Fault, Refuse
from .handshake import Accepted, Refusal, Request
from .parameters import StreamParameters
from .profiles import PROFILES, Profile, ProfileName
from .recognizer import SECONDS_PER_WORD, Recognizer, ScriptedTurn, ScriptRecognizer
from .session import Session, Traffic
from .transport import Transport

RecognizerFactory = Callable[[StreamParameters], Recognizer]
"""Makes the recognizer of one connection; must not block (see :attr:`.Recognizer.blocking`)."""
RecognizerName = Literal["script", "coded", "pocketsphinx"]
Observer = Callable[["Connection", str], None]
"""Gets one line of text for each thing that happens on a connection."""

MAX_CONNECTIONS: Final = 1000
"""So many are remembered; older ones are forgotten."""

DEFAULT_SCRIPT = (ScriptedTurn.of("turn on the living room light"),)


@dataclass(slots=True)
class Connection(Traffic):
    """What arrived with one upgrade request, and what went over it."""

    number: int = 0
    """Counted from 1, refused ones included."""
    request: Request = field(default_factory=lambda: Request("/"))
    request_id: str = ""
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


class Service:
    """A local Flux: answers upgrade requests and runs sessions on any transport.

    :meth:`open` decides about a request, :meth:`serve` runs the stream of an accepted one.
    """

    def __init__(
        self,
        *,
        profile: ProfileName | Profile = "workers-ai",
        recognizer: RecognizerName | RecognizerFactory = "script",
        script: Iterable[ScriptedTurn | str] = DEFAULT_SCRIPT,
        seconds_per_word: float = SECONDS_PER_WORD,
        ingest_rate: float = 1.25,
        faults: Sequence[Fault] = (),
        token: str | None = None,
        keep: bool = True,
        close_code: int | None = None,
        observe: Observer | None = None,
    ) -> None:
        """Prepare a Flux.

        ``recognizer`` is a name or makes one per connection; ``script`` and ``seconds_per_word``
        belong to ``script``. ``ingest_rate`` is times real time, 0 unlimited. Only requests with
        ``token`` are let in, where it is given. ``keep``: record all audio and messages.
        ``close_code``: how a connection ends after ``CloseStream``, instead of the profile's way.
        Raises ValueError for unknown names.
        """
        chosen = PROFILES[profile] if isinstance(profile, str) else profile
        if close_code is not None:
            chosen = dataclasses.replace(chosen, close_code=close_code)
        self.profile = chosen
        self.connections: list[Connection] = []
        self.faults = list(faults)  # may be changed between connections
        self._recognizer = _factory(recognizer, tuple(script), seconds_per_word)
        self._observe = observe or (lambda connection, line: None)
        self._ingest_rate = ingest_rate
        self._token = token
        self._keep = keep
        self._count = 0

    async def open(self, request: Request) -> tuple[Connection, Accepted | Refusal]:
        """Answer an upgrade request, late where a fault says so."""
        self._count += 1
        connection = Connection(number=self._count, request=request, request_id=str(uuid.uuid4()))
        self.connections.append(connection)
        del self.connections[:-MAX_CONNECTIONS]
        answer = await self._answer(connection)
        if isinstance(answer, Refusal):
            connection.refused = answer.status
            self._observe(connection, f"refused with {answer.status}: {answer.body.decode()}")
        else:
            connection.parameters = answer.parameters
            self._observe(
                connection, f"connected at {connection.path}: {_shown(answer.parameters)}"
            )
        return connection, answer

    async def serve(self, connection: Connection, transport: Transport) -> None:
        """Run the stream of an accepted connection until it is closed."""
        if connection.parameters is None:
            raise ValueError("this connection was refused")
        session = Session(
            transport,
            connection.parameters,
            self.profile,
            self._recognizer(connection.parameters),
            request_id=connection.request_id,
            ingest_rate=self._ingest_rate,
            faults=self._faults(connection),
            traffic=connection,
            keep=self._keep,
            observe=lambda line: self._observe(connection, line),
        )
        await session.run()

    def _faults(self, connection: Connection) -> tuple[Fault, ...]:
        return fault_kinds.for_connection(self.faults, connection.number)

    async def _answer(self, connection: Connection) -> Accepted | Refusal:
        for fault in self._faults(connection):
            if isinstance(fault, ConnectLate):
                await asyncio.sleep(fault.seconds)
            elif isinstance(fault, Refuse):
                return handshake.refuse(fault, self.profile, connection.request_id)
        return handshake.check(
            connection.request,
            self.profile,
            request_id=connection.request_id,
            token=self._token,
        )


def _factory(
    recognizer: RecognizerName | RecognizerFactory,
    script: tuple[ScriptedTurn | str, ...],
    seconds_per_word: float,
) -> RecognizerFactory:
    if callable(recognizer):
        return recognizer
    match recognizer:
        case "script":
            return lambda _: ScriptRecognizer(script, seconds_per_word=seconds_per_word)
        case "coded":
            return lambda _: CodedRecognizer()
        case "pocketsphinx":
            from .sphinx import PocketSphinxRecognizer

            return PocketSphinxRecognizer
    raise ValueError(f"there is no recognizer {recognizer!r}")


def _shown(parameters: StreamParameters) -> str:
    """Return what differs from the defaults."""
    plain = StreamParameters(sample_rate=0)
    values = (
        (field.name, getattr(parameters, field.name)) for field in dataclasses.fields(parameters)
    )
    return ", ".join(f"{name}={value}" for name, value in values if value != getattr(plain, name))
