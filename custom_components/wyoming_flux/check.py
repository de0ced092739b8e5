"""The live check: is this Flux, and does it take what we ask for? Used before anything is saved."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wyoming_flux.errors import (
    AuthFailed,
    CertificateInvalid,
    ConnectionLost,
    EndpointError,
    EndpointNotFound,
    FluxTimeout,
    InvalidSetting,
    LoginNeeded,
    NotFlux,
    PaymentRequired,
    QuotaExceeded,
    Refused,
    WyomingFluxError,
)
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.keyterms import merge
from wyoming_flux.settings import DEFAULT_SAMPLE_RATE, MAX_KEYTERM_CHARACTERS, FluxSettings

from .const import CONF_KEYTERMS, CONF_MIP_OPT_OUT, CONF_SAMPLE_RATE, CONF_TOKEN, CONF_WORKER_URL


@dataclass(frozen=True, slots=True)
class FormError:
    """What is wrong, for a form: the field, the key of the text, and what the text needs."""

    field: str
    key: str
    placeholders: Mapping[str, str] = dataclasses.field(default_factory=dict)


def setting_fault(
    error: InvalidSetting, *, url: str, options: Mapping[str, object] | None = None
) -> FormError:
    """Return what to say about a value that cannot work."""
    match error.name:
        case "worker_url":
            try:
                Endpoint.from_url(url)
            except InvalidSetting:
                return FormError(CONF_WORKER_URL, "invalid_url", {"reason": str(error)})
            return FormError(CONF_WORKER_URL, "insecure_token")
        case "token":
            return FormError(CONF_TOKEN, "invalid_token")
        case "eager_eot_threshold":
            return FormError("base", "eager_above_threshold")
        case name if options is not None and name in options:
            return FormError(name, "invalid_value", {"reason": str(error)})
        case _:
            return FormError("base", "invalid_value", {"reason": str(error)})


def keyterm_fault(terms: Sequence[str]) -> FormError | None:
    """Return what is wrong with typed key terms: Flux would refuse or lose some of them."""
    if any(len(term) > MAX_KEYTERM_CHARACTERS for term in terms):
        return FormError(CONF_KEYTERMS, "keyterm_too_long", {"limit": str(MAX_KEYTERM_CHARACTERS)})
    if cut := merge(terms).cut:
        return FormError(CONF_KEYTERMS, "too_many_keyterms", {"cut": str(cut)})
    return None


def endpoint_fault(
    error: WyomingFluxError, connector: Connector, settings: FluxSettings
) -> FormError:
    """Return what to say about an endpoint that could not be used."""
    reason = {"reason": error.traced if isinstance(error, EndpointError) else str(error)}
    match error:
        case LoginNeeded():
            return FormError(CONF_WORKER_URL, "login_page")
        case AuthFailed():
            missing = connector.endpoint.token is None
            return FormError(CONF_TOKEN, "missing_token" if missing else "invalid_auth")
        case QuotaExceeded():
            return FormError("base", "quota", reason)
        case PaymentRequired():
            return FormError("base", "payment", reason)
        case EndpointNotFound():
            return FormError(CONF_WORKER_URL, "endpoint_not_found", reason)
        case NotFlux():
            return FormError(CONF_WORKER_URL, "not_flux")
        case CertificateInvalid():
            return FormError(CONF_WORKER_URL, "tls", reason)
        case Refused() if connector.plain:
            return plain_fault(settings) or FormError("base", "refused", reason)
        case Refused():
            return FormError("base", "refused", reason)
        case FluxTimeout() | ConnectionLost():
            return FormError(CONF_WORKER_URL, "no_answer", reason)
        case _:
            return FormError(CONF_WORKER_URL, "unreachable", reason)


def plain_fault(settings: FluxSettings) -> FormError | None:
    """Return what a Worker that ignores parameters cannot do of what was asked for."""
    if settings.mip_opt_out:
        return FormError(CONF_MIP_OPT_OUT, "plain_mip_opt_out")
    if settings.sample_rate != DEFAULT_SAMPLE_RATE:
        return FormError(CONF_SAMPLE_RATE, "plain_sample_rate")
    if settings.keyterms:
        return FormError(CONF_KEYTERMS, "plain_keyterms")
    return None
