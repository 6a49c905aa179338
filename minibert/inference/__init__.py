"""Uses of a trained model: filling blanks, computing vectors of texts, and looking at attention."""

from minibert.inference.encode import encode
from minibert.inference.fill import fill_mask

__all__ = ["encode", "fill_mask"]
