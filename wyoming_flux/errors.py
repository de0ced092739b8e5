"""What can go wrong, by cause: each cause is one class with one stable code.

::

    WyomingFluxError
    ├── InvalidSetting          invalid-setting       a value that Flux or the server cannot take
    ├── InvalidAudio            invalid-audio         a format or a chunk that cannot be converted
    ├── InvalidEvent            invalid-event         a Wyoming event that cannot be understood
    ├── UnsupportedLanguage     unsupported-language  the model does not know this language
    ├── Busy                    busy                  too many connections at once
    ├── Internal                internal              a fault of our own
    └── EndpointError                                 the way to Flux
        ├── AuthFailed          auth                  a new token would help
        │   └── LoginNeeded     auth                  a login page stands before it
        ├── QuotaExceeded       quota                 the allowance is used up until it is renewed
        ├── PaymentRequired     payment               the account must pay or upgrade
        ├── EndpointNotFound    endpoint-not-found    nothing answers at this URL
        ├── NotFlux             not-flux              something answers, but it is not Flux
        ├── Refused             refused               Flux, or what stands before it, said no
        ├── Unreachable         unreachable           no connection could be made
        │   └── CertificateInvalid  unreachable       the server could not prove who it is
        ├── FluxTimeout         timeout               connected, but no answer in time
        ├── ConnectionLost      connection-lost       the connection broke for good
        └── EndpointBusy        busy                  it hears as many as it can at once

The message of each is one sentence that a person can act on. It never holds a token, a header or a
query string. ``invalid-setting`` never travels over Wyoming: settings are checked before serving.
"""

import os
from collections.abc import Iterable
from typing import Any, ClassVar, Final

_LONGEST: Final = 200


class WyomingFluxError(Exception):
    """Base of all that this library raises on purpose; its text is one sentence for a person."""

    code: ClassVar[str] = "internal"


class InvalidSetting(WyomingFluxError, ValueError):
    """A setting has a value that cannot work; ``name`` is the field of :mod:`.settings`."""

    code = "invalid-setting"

    def __init__(self, name: str, message: str) -> None:
        """Remember which setting is meant, so that a form can show the message at its field."""
        super().__init__(message)
        self.name = name


class InvalidAudio(WyomingFluxError, ValueError):
    """The audio format is not supported, or a chunk contradicts what was announced."""

    code = "invalid-audio"


class InvalidEvent(WyomingFluxError, ValueError):
    """A Wyoming event is malformed, too large, or its fields have the wrong types."""

    code = "invalid-event"


class UnsupportedLanguage(WyomingFluxError, ValueError):
    """The requested language is not one of the model's."""

    code = "unsupported-language"


class Busy(WyomingFluxError):
    """The server has reached its limit of connections."""

    code = "busy"


class Internal(WyomingFluxError):
    """A fault of our own; its traceback is in the log."""

    code = "internal"


class EndpointError(WyomingFluxError):
    """Flux could not be used: base of all faults between us and the model."""

    retryable: ClassVar[bool] = False
    """Whether another attempt within the same utterance can help."""
    body: str = ""
    """What came instead of a WebSocket, without our secrets; not for the ordinary log."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        upstream_code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Keep what the other side said: HTTP status, its own error code, its request id."""
        super().__init__(message)
        self.status = status
        self.upstream_code = upstream_code
        self.request_id = request_id

    @property
    def traced(self) -> str:
        """The message with the request id, if there is one: what support can look up."""
        return f"{self} (request {self.request_id})" if self.request_id else str(self)


class AuthFailed(EndpointError):
    """The token is missing, wrong or expired; a new one helps."""

    code = "auth"


class LoginNeeded(AuthFailed):
    """A login page stands before the endpoint: a token of ours is not what it asks for."""


class QuotaExceeded(EndpointError):
    """The account's or our own (``--daily-minutes``) allowance is used up; renewed at 00:00 UTC."""

    code = "quota"


class PaymentRequired(EndpointError):
    """The account has no credit, is blocked, or needs a paid plan."""

    code = "payment"


class EndpointNotFound(EndpointError):
    """The host answers, but has nothing at this URL."""

    code = "endpoint-not-found"


class NotFlux(EndpointError):
    """What answers does not speak Flux."""

    code = "not-flux"


class Refused(EndpointError):
    """The upgrade was refused; ``parameters`` tells whether fewer parameters may be accepted."""

    code = "refused"

    def __init__(
        self, message: str, *, parameters: bool = False, named: Iterable[str] = (), **said: Any
    ) -> None:
        """Add to what :class:`EndpointError` keeps which parameters the other side ``named``."""
        super().__init__(message, **said)
        self.parameters = parameters
        self.named = frozenset(named)


class Unreachable(EndpointError):
    """No connection: name not found, refused, TLS, overload, or a server error that may pass."""

    code = "unreachable"
    retryable = True


class CertificateInvalid(Unreachable):
    """TLS verification failed; trying again does not help."""

    retryable = False


class FluxTimeout(EndpointError):
    """Connected, or on the way, but nothing came back in time."""

    code = "timeout"
    retryable = True


class ConnectionLost(EndpointError):
    """The connection broke in the middle of a turn."""

    code = "connection-lost"
    retryable = True

    def __init__(self, message: str, *, close_code: int | None = None, **said: Any) -> None:
        """Add the WebSocket's close code: 1005 for none in the frame, 1006 without a frame."""
        super().__init__(message, **said)
        self.close_code = close_code


def one_line(text: str) -> str:
    """Return what another side wrote as one printable line of at most 200 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


class EndpointBusy(EndpointError):
    """The endpoint hears as many at once as it can; the next one is to be asked."""

    code = "busy"


def os_reason(error: BaseException) -> str:
    """Return what the operating system says of a fault, for a sentence to a person.

    asyncio puts a sentence of its own around it, with addresses that the person knows already; and
    where it tried several addresses, ``errno`` is missing.
    """
    number = getattr(error, "errno", None) or 0
    # Numbers of unknown host names are negative, and are the resolver's.
    if number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
