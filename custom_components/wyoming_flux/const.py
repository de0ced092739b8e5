"""Names that the parts of the integration share."""

from typing import Final

DOMAIN: Final = "wyoming_flux"
TITLE: Final = "Deepgram Flux"
DOCUMENTATION: Final = (
    "https://github.com/wyoming-flux/wyoming-flux/blob/main/docs/home-assistant.md"
)

# Entry data: what is needed to connect.
CONF_WORKER_URL: Final = "worker_url"
CONF_TOKEN: Final = "token"  # noqa: S105 - the name of a field, not a secret

# What the dialogues ask for beside.
CONF_API_TOKEN: Final = "api_token"  # noqa: S105 - as above
CONF_NAME: Final = "name"
CONF_ACCOUNT: Final = "account"
CONF_SUBDOMAIN: Final = "subdomain"
CONF_NEW_TOKEN: Final = "new_token"  # noqa: S105 - as above
CONF_USE: Final = "use_in_assistant"
CONF_ASSISTANT: Final = "assistant"

DEEPGRAM_URL: Final = "wss://api.deepgram.com/v2/listen"

# Entry options that are read by name; all of them are in options.py.
CONF_SAMPLE_RATE: Final = "sample_rate"
CONF_MODEL: Final = "model"
CONF_KEYTERMS: Final = "keyterms"
CONF_HOME_NAMES: Final = "home_names"
CONF_WAKE_PHRASES: Final = "wake_phrases"
CONF_DAILY_MINUTES: Final = "daily_minutes"
CONF_MIP_OPT_OUT: Final = "mip_opt_out"
CONF_ENHANCED_AUDIO: Final = "enhanced_audio"
CONF_EXTERNAL_VAD: Final = "external_vad"
CONF_KEEP_TURNS: Final = "keep_turns"
CONF_SERVE: Final = "serve"
CONF_SERVE_PORT: Final = "serve_port"
CONF_FALLBACK_ENTITY: Final = "fallback_entity"
CONF_FALLBACK_URL: Final = "fallback_url"
CONF_FALLBACK_TOKEN: Final = "fallback_token"  # noqa: S105 - as above
