"""minibert: BERT (arXiv 1810.04805) with every forward and backward pass written by hand.

`import minibert` only defines names.  The object behind a name is imported when the name is first used, so that
`import minibert` is quick and needs neither a compiler nor a GPU:

    from minibert import Bert, BertConfig, Tokenizer
"""

import sys

if getattr(sys, "argv", [])[:1] == ["-m"]:  # `python -m minibert` imports nothing from the current folder
    from minibert.base.safe_path import leave_out_current_folder

    leave_out_current_folder()

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> the package it lives in (PEP 562: __getattr__ of a module)
_EXPORTS = {
    "Bert": "minibert.models",
    "BertConfig": "minibert.models",
    "BertForPreTraining": "minibert.models",
    "PretrainConfig": "minibert.training",
    "Tokenizer": "minibert.text",
    "pretrain": "minibert.training",
}

__all__ = ["Bert", "BertConfig", "BertForPreTraining", "PretrainConfig", "Tokenizer", "__version__", "pretrain"]


def __getattr__(name: str) -> Any:
    """Import the package that holds `name` when the name is first used, and cache the object found there."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'minibert' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
