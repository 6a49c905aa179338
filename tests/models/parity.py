"""A small BERT here and the same one in `transformers`, for the parity tests."""

import numpy as np

from minibert.data.masked_batch import MaskedBatch, masked_to_padded
from minibert.models import BertForPreTraining


def shaken(model, seed=1, std=0.1):
    """The model with noise on every parameter, so that no bias is zero and no layer norm is one."""
    random = np.random.default_rng(seed)
    for parameter in model.parameters.all.values():
        noise = random.standard_normal(parameter.shape) * std
        parameter.value[...] += model.backend.array(noise, dtype=model.parameters.dtype)
    return model


def as_transformers(model: BertForPreTraining, folder, torch_dtype):
    """The same model in `transformers`, through files."""
    import transformers

    model.save_pretrained(folder)
    peer = transformers.BertForPreTraining.from_pretrained(folder, attn_implementation="eager").to(torch_dtype)
    return peer.eval()


def peer_inputs(batch: MaskedBatch) -> dict:
    """The padded batch as keyword arguments of the peer's forward, in torch tensors."""
    import torch

    return {name: torch.from_numpy(array) for name, array in masked_to_padded(batch).items()}
