"""Wyoming speech-to-text on Deepgram Flux."""

__version__ = "0.1.0"
