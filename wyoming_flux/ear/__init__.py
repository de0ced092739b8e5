"""A recogniser on this machine (extra ``[local]``), with the face of a Flux stream."""

from .ear import Ear, EarConnection
from .model import Model, model_at, usable_model

__all__ = ["Ear", "EarConnection", "Model", "model_at", "usable_model"]
