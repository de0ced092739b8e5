"""What the server says about itself: the answer to ``describe``, made once.

Home Assistant reads the first program's name, the languages of its installed models and the three
flags, once, when it creates its entity (``homeassistant/components/wyoming/stt.py``, 2026.10.4).
"""

from typing import Final

from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from wyoming_flux import __version__
from wyoming_flux.flux import Endpoint, Route

_CLOUDFLARE: Final = Attribution(
    name="Cloudflare Workers AI",
    url="https://developers.cloudflare.com/workers-ai/models/flux/",
)
_DEEPGRAM: Final = Attribution(name="Deepgram", url="https://deepgram.com/")


def build_info(name: str, endpoint: Endpoint, model: str, *, external_vad: bool) -> Info:
    """Return the ``info`` of a server called *name* that uses *model* at *endpoint*."""
    return Info(
        asr=[
            AsrProgram(
                name=name,
                description="Speech-to-text on Deepgram Flux, which knows when you are done",
                attribution=_DEEPGRAM if endpoint.route is Route.DEEPGRAM else _CLOUDFLARE,
                installed=True,
                version=__version__,
                models=[
                    AsrModel(
                        name=model,
                        description="Deepgram Flux",
                        attribution=_DEEPGRAM,
                        installed=True,
                        version=None,
                        languages=list(endpoint.languages(model)),
                    )
                ],
                supports_transcript_streaming=True,
                requires_external_vad=external_vad,
                # Flux is trained on audio as it is; enhancement costs words.
                prefers_auto_gain_enabled=False,
                prefers_noise_reduction_enabled=False,
            )
        ]
    )
