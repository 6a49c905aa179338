"""Using a trained model: filling blanks, vectors of texts, attention."""

from minibert.inference.encode import encode
from minibert.inference.fill import fill_mask

__all__ = ["encode", "fill_mask"]
