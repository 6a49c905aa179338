"""Uses of a trained model: filling blanks, continuing a text, vectors of texts, attention."""

from minibert.inference.encode import encode
from minibert.inference.fill import fill_mask
from minibert.inference.generate import Sampling, generate

__all__ = ["Sampling", "encode", "fill_mask", "generate"]
