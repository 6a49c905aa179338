"""Inference with a trained model: filling in blanks, generating text, encoding texts as vectors, showing attention."""

from minibert.inference.encode import encode
from minibert.inference.fill import fill_mask
from minibert.inference.generate import Sampling, generate

__all__ = ["Sampling", "encode", "fill_mask", "generate"]
