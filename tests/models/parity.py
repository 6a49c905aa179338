"""A small BERT here and the same one in `transformers`, for the parity tests."""

import numpy as np

from minibert.data.batch import Batch, running_sum, to_padded
from minibert.models import BertConfig, BertForPreTraining


def small_config(**changes) -> BertConfig:
    """Three layers, so that the cut last layer has full ones below it; sizes that are no powers of two."""
    values = dict(vocab_size=103, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=56)
    return BertConfig(**{**values, "max_position_embeddings": 33, **changes})


def random_batch(config: BertConfig, lengths=(1, 9, 33, 17, 2), pairs=True, seed=0) -> Batch:
    """Ragged sequences of random ids, some of them masked, with NSP labels of both kinds."""
    random = np.random.default_rng(seed)
    cu_seqlens = running_sum(lengths)
    tokens = cu_seqlens[-1]
    masked = np.sort(random.choice(tokens, size=max(tokens // 5, 1), replace=False)).astype(np.int32)
    positions = np.concatenate([np.arange(length) for length in lengths])
    return Batch(
        # from 1: PyTorch gives the row of [PAD], id 0, no gradient, since nobody should feed it
        token_ids=random.integers(1, config.vocab_size, tokens).astype(np.int32),
        segment_ids=random.integers(0, 2, tokens).astype(np.int32),
        position_ids=positions.astype(np.int32),
        cu_seqlens=cu_seqlens,
        sequence_numbers=np.arange(len(lengths)),
        masked_positions=masked,
        masked_labels=random.integers(0, config.vocab_size, len(masked)).astype(np.int32),
        nsp_labels=(np.arange(len(lengths)) % 2).astype(np.int32) if pairs else None,
        mlm_count=len(masked),
        nsp_count=len(lengths) if pairs else 0,
    )


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


def peer_inputs(batch: Batch) -> dict:
    """The padded batch as keyword arguments of the peer's forward, in torch tensors."""
    import torch

    return {name: torch.from_numpy(array) for name, array in to_padded(batch).items()}
