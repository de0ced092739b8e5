"""The simulator without a socket: upgrades, sessions, and a record of what arrived."""

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from . import faults as fault_kinds
from . import handshake
from .faults import ConnectLate, Fault, Refuse
from .handshake import Accepted, Refusal, Request
from .parameters import StreamParameters
from .profiles import PROFILES, Profile, ProfileName
from .recognizer import Recognizer, ScriptedTurn, ScriptRecognizer
from .session import Session, Traffic
from .transport import Transport

RecognizerFactory = Callable[[StreamParameters], Recognizer]
"""Makes the recognizer of one connection; called in a thread if that takes long."""

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
        recognizer: str | RecognizerFactory = "script",
        script: Iterable[ScriptedTurn | str] = DEFAULT_SCRIPT,
        ingest_rate: float = 1.25,
        faults: Sequence[Fault] = (),
        token: str | None = None,
        keep: bool = True,
        close_code: int | None = None,
        on_event: Callable[[Connection, str], None] | None = None,
    ) -> None:
        """``keep``: record audio and messages; ``close_code``: instead of the profile's own."""
        chosen = PROFILES[profile] if isinstance(profile, str) else profile
        if close_code is not None:
            chosen = dataclasses.replace(chosen, close_code=close_code)
        self.profile = chosen
        self.connections: list[Connection] = []
        self.faults = list(faults)
        self._script = tuple(script)
        self._recognizer = self._factory(recognizer)
        self._ingest_rate = ingest_rate
        self._token = token
        self._keep = keep
        self._count = 0

    async def open(self, request: Request) -> tuple[Connection, Accepted | Refusal]:
        """Answer an upgrade request, late where a fault says so."""
        self._count += 1
        connection = Connection(
            number=self._count, request=request, request_id=str(uuid.uuid4())
        )
        if self._keep:
            connection.audio = bytearray()
        self.connections.append(connection)
        answer = await self._answer(connection)
        if isinstance(answer, Refusal):
            connection.refused = answer.status
        else:
            connection.parameters = answer.parameters
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

    def _factory(self, recognizer: str | RecognizerFactory) -> RecognizerFactory:
        if callable(recognizer):
            return recognizer
        if recognizer == "script":
            return lambda parameters: ScriptRecognizer(self._script)
        raise ValueError(f"there is no recognizer {recognizer!r}")
