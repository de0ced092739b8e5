"""Where Flux is: a URL (and route) becomes query, headers, and what that route can do."""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from wyoming_flux.address import is_private_host, may_be_at_home
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.settings import ENCODING, FluxSettings

from .messages import CLOSE_STREAM, FORCE_END_TURN

Parameter = tuple[str, str]
"""Name and value of one query parameter."""

WORKERS_AI_MODEL: Final = "@cf/deepgram/flux"
_ENGLISH: Final = ("en", "en-US", "en-GB", "en-AU", "en-CA", "en-IE", "en-IN", "en-NZ", "en-ZA")
_LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "flux-general-en": _ENGLISH,
    # Deepgram's ten languages (docs/flux/language-prompting), with the tags that Home Assistant
    # uses for them: it compares tags literally.
    "flux-general-multi": (
        *_ENGLISH,
        *("de", "de-AT", "de-CH", "de-DE"),
        *("es", "es-ES", "es-MX", "es-419"),
        *("fr", "fr-BE", "fr-CA", "fr-CH", "fr-FR"),
        *("hi", "hi-IN"),
        *("it", "it-CH", "it-IT"),
        *("ja", "ja-JP"),
        *("nl", "nl-BE", "nl-NL"),
        *("pt", "pt-BR", "pt-PT"),
        *("ru", "ru-RU"),
    ),
}

# Set by the WebSocket library or by HTTP itself; a second value would break the handshake.
_RESERVED_HEADERS: Final = frozenset({"host", "connection", "upgrade", "content-length"})
_SHORTEST_SECRET: Final = 4

# Flux's own (docs/flux/configuration), and the end of the range on Cloudflare's model page.
_DEFAULT_EOT_THRESHOLD: Final = 0.7
_DEFAULT_EOT_TIMEOUT_MS: Final = 5000
_CLOUDFLARE_EOT_THRESHOLD: Final = 0.9
# As our pages and forms write them, and what shells and browsers make of it.
_PLACEHOLDER: Final = re.compile(
    r"<[^>]*>?|%3c|\{[^}]*\}?|\.account\.workers\.dev", re.ASCII | re.IGNORECASE
)
_GATEWAY_QUERY: Final = f"?model={WORKERS_AI_MODEL}"
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Route(StrEnum):
    """Which of the four ways to Flux a URL is."""

    WORKER = "worker"
    WORKERS_AI = "workers-ai"
    AI_GATEWAY = "ai-gateway"
    DEEPGRAM = "deepgram"

    @property
    def billed_by(self) -> str:
        """Who sends the bill."""
        return "Deepgram" if self is Route.DEEPGRAM else "Cloudflare"

    @property
    def price(self) -> float:
        """Dollars for a minute of audio.

        Cloudflare's model page, 2026-10-02. Deepgram's pricing page as others quote it, 2026-11-04:
        Flux Multilingual, pay as you go; the English model may cost less.
        """
        return 0.0078 if self is Route.DEEPGRAM else 0.0077


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where Flux can be reached; made by :meth:`from_url`."""

    url: str
    """``ws://`` or ``wss://``, without a query."""
    route: Route
    token: str | None = field(default=None, repr=False)
    # A factory, because Python 3.11 does not believe that a mappingproxy cannot change.
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Extra request headers, such as those of Cloudflare Access."""

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        route: str = "auto",
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Endpoint":
        """Make an endpoint of what a person typed.

        ``http(s)://`` is turned into ``ws(s)://``, for a public host always into ``wss://``, and so
        is an address without a scheme; the host decides the route unless ``route`` names one.
        Raises :class:`InvalidSetting` for ``worker_url``, ``route``, ``token`` or ``headers``, with
        a sentence that says what to do.
        """
        parts = _split(url)
        host = parts.hostname or ""
        chosen = _route(host, route)
        path = _path(parts, chosen, forced=route != "auto")
        secure = parts.scheme == "wss"
        token = _token(token)
        checked = _headers(headers or {}, chosen, token)
        if not secure and (token or checked) and not is_private_host(host):
            raise InvalidSetting(
                "worker_url",
                f"a token must not travel unencrypted to {host}: use wss:// instead of ws://",
            )
        return cls(
            url=f"{parts.scheme}://{parts.netloc}{path}",
            route=chosen,
            token=token,
            headers=MappingProxyType(checked),
        )

    @property
    def host(self) -> str:
        """``host[:port]``, for messages and logs."""
        return urlsplit(self.url).netloc

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("wss:")

    @property
    def controls(self) -> tuple[str, ...]:
        """Control messages that may flush here, the best first; :mod:`.learnt` wants proof.

        ``ForceEndTurn`` was announced for Deepgram's own hosts (docs/flux/force-end-turn).
        """
        if self.route is Route.DEEPGRAM:
            return FORCE_END_TURN, CLOSE_STREAM
        return (CLOSE_STREAM,)

    @staticmethod
    def languages(model: str) -> tuple[str, ...]:
        """Return the language tags that a model understands."""
        return _LANGUAGES[model]

    def check(self, settings: FluxSettings) -> None:
        """Raise :class:`InvalidSetting` for settings that this route cannot carry."""
        if self.route is not Route.DEEPGRAM and settings.model != "flux-general-en":
            raise InvalidSetting(
                "model",
                f"the model {settings.model} is only available from Deepgram directly"
                " (wss://api.deepgram.com/v2/listen); Cloudflare has flux-general-en alone",
            )
        known = {tag.partition("-")[0] for tag in self.languages(settings.model)}
        language = settings.language
        if (
            language is not None
            and language.replace("_", "-").partition("-")[0].lower() not in known
        ):
            raise InvalidSetting(
                "language",
                f"the model {settings.model} does not know the language {language!r};"
                f" it knows {', '.join(sorted(known))}",
            )

    @property
    def open_to_all(self) -> bool:
        """Whether nothing is shown to a host that everybody can reach."""
        return not (
            self.token or self.headers or is_private_host(urlsplit(self.url).hostname or "")
        )

    def advice(self, settings: FluxSettings) -> str | None:
        """Return what this endpoint may not like of the settings; it decides itself."""
        threshold = settings.effective_eot_threshold
        if self.route is not Route.DEEPGRAM and threshold > _CLOUDFLARE_EOT_THRESHOLD:
            return (
                f"Cloudflare documents eot_threshold up to {_CLOUDFLARE_EOT_THRESHOLD:g}:"
                f" {threshold:g} may be refused, and is then left out"
            )
        return None

    def optional_parameters(self, settings: FluxSettings) -> list[Parameter]:
        """Return the parameters without which a turn still works, in the order of the reference.

        What is Flux's default is not among them: some deployments refuse what changes nothing.
        """
        query: list[Parameter] = []
        if settings.effective_eot_threshold != _DEFAULT_EOT_THRESHOLD:
            query.append(("eot_threshold", f"{settings.effective_eot_threshold:g}"))
        if settings.eager_eot_threshold is not None:
            query.append(("eager_eot_threshold", f"{settings.eager_eot_threshold:g}"))
        if settings.effective_eot_timeout_ms != _DEFAULT_EOT_TIMEOUT_MS:
            query.append(("eot_timeout_ms", str(int(settings.effective_eot_timeout_ms))))
        query += [("keyterm", term) for term in settings.keyterms]
        if self.route is Route.DEEPGRAM and settings.model == "flux-general-multi":
            query += [("language_hint", tag) for tag in (settings.language,) if tag is not None]
        if settings.tag is not None:
            query.append(("tag", settings.tag))
        return query

    def request_url(self, settings: FluxSettings, left_out: Set[Parameter] = frozenset()) -> str:
        """Return the URL of the upgrade request, without what is ``left_out``.

        What decides over meaning and privacy is never left out: model, encoding, sample rate and
        ``mip_opt_out``.
        """
        query: list[Parameter] = []
        if self.route is Route.DEEPGRAM:
            query.append(("model", settings.model))
        elif self.route is Route.AI_GATEWAY:
            query.append(("model", WORKERS_AI_MODEL))
        query += [("encoding", ENCODING), ("sample_rate", str(settings.sample_rate))]
        if settings.mip_opt_out:
            query.append(("mip_opt_out", "true"))
        query += [one for one in self.optional_parameters(settings) if one not in left_out]
        return f"{self.url}?{urlencode(query, quote_via=quote, safe='@/')}"

    def request_headers(self) -> dict[str, str]:
        """Return the headers of the upgrade request, authorisation included."""
        headers = dict(self.headers)
        if self.token is not None:
            name, scheme = _authorisation(self.route)
            headers[name] = f"{scheme} {self.token}"
        return headers

    def hide(self, text: str) -> str:
        """Return what the other side said without this endpoint's token and headers."""
        # Of "Bearer abc" somebody may repeat the second word alone.
        words = [word for value in self.headers.values() for word in (value, *value.split()[1:])]
        for secret in (self.token or "", *words):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text


def _split(url: str) -> SplitResult:
    text = url.strip()
    if not text:
        raise InvalidSetting("worker_url", "the Worker URL is missing: give wss://<your Worker>")
    if placeholder := _PLACEHOLDER.search(text):
        raise InvalidSetting(
            "worker_url",
            f"{placeholder.group().strip('./')} in the Worker URL only stands for yours: give the"
            " address that `npx wrangler deploy` or `wyoming-flux deploy` printed",
        )
    if "://" not in text and re.match(r"(//)?[^/]*([.:]|localhost)", text):
        # The dashboard shows addresses without a scheme.
        text = f"http://{text.removeprefix('//')}"
    text = text.removesuffix(_GATEWAY_QUERY)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as err:
        raise InvalidSetting("worker_url", f"the Worker URL {text!r} is not a URL: {err}") from err
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise InvalidSetting(
            "worker_url", f"the Worker URL must look like wss://name.account.workers.dev: {text!r}"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidSetting(
            "worker_url", "the Worker URL must not contain a user name or password: use a token"
        )
    if parts.query or parts.fragment:
        raise InvalidSetting(
            "worker_url", "the Worker URL must end before '?' and '#': parameters are added to it"
        )
    if re.search(r"[\s\x00-\x1f\x7f]", text) or not text.isascii():
        raise InvalidSetting(
            "worker_url", "the Worker URL must not contain spaces or non-ASCII characters"
        )
    if parts.scheme == "http" and not may_be_at_home(parts.hostname):
        scheme = "wss"
        port = None if port == 80 else port
    netloc = parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]"
    if port is not None and port != {"ws": 80, "wss": 443}[scheme]:
        netloc += f":{port}"
    return SplitResult(scheme, netloc, parts.path.rstrip("/"), "", "")


def _route(host: str, route: str) -> Route:
    if route != "auto":
        try:
            return Route(route)
        except ValueError:
            known = ", ".join(("auto", *Route))
            raise InvalidSetting("route", f"the route must be one of {known}") from None
    if host == "api.cloudflare.com":
        return Route.WORKERS_AI
    if host == "gateway.ai.cloudflare.com":
        return Route.AI_GATEWAY
    if host == "deepgram.com" or host.endswith(".deepgram.com"):
        return Route.DEEPGRAM
    return Route.WORKER


def _path(parts: SplitResult, route: Route, *, forced: bool) -> str:
    path = parts.path
    if route is Route.DEEPGRAM:
        path = path or "/v2/listen"
        if not forced and path != "/v2/listen":
            raise InvalidSetting(
                "worker_url", f"Flux at Deepgram is wss://{parts.netloc}/v2/listen, not {path}"
            )
    elif route is Route.WORKERS_AI and not forced:
        if not re.fullmatch(rf"/client/v4/accounts/[^/]+/ai/run/{WORKERS_AI_MODEL}", path):
            raise InvalidSetting(
                "worker_url",
                "Flux at Workers AI is wss://api.cloudflare.com/client/v4/accounts/"
                f"<account id>/ai/run/{WORKERS_AI_MODEL}",
            )
    elif route is Route.AI_GATEWAY and not forced:
        # The dashboard shows the path of an ordinary request, with the model at its end.
        path = path.removesuffix(f"/{WORKERS_AI_MODEL}")
        if re.fullmatch(r"/v1/[^/]+/[^/]+/workers-ai", path):
            return path
        raise InvalidSetting(
            "worker_url",
            "Flux behind AI Gateway is"
            " wss://gateway.ai.cloudflare.com/v1/<account id>/<gateway>/workers-ai",
        )
    return path or "/"


def _authorisation(route: Route) -> tuple[str, str]:
    if route is Route.DEEPGRAM:
        return "Authorization", "Token"
    if route is Route.AI_GATEWAY:
        return "cf-aig-authorization", "Bearer"
    return "Authorization", "Bearer"


def _token(token: str | None) -> str | None:
    token = (token or "").strip()
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidSetting(
            "token", "the token must be one word of plain characters: check that it is all of it"
        )
    return token


def _headers(headers: Mapping[str, str], route: Route, token: str | None) -> dict[str, str]:
    checked: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidSetting("headers", "a header name has a character that is not allowed")
        if lower in _RESERVED_HEADERS or lower.startswith("sec-websocket-"):
            raise InvalidSetting("headers", f"the header {name} cannot be set")
        if token is not None and lower == _authorisation(route)[0].lower():
            raise InvalidSetting("headers", f"the header {name} is already made from the token")
        if not value.isascii() or not value.isprintable():
            raise InvalidSetting("headers", f"the value of {name} has characters not allowed")
        checked[name] = value.strip()
    return checked
