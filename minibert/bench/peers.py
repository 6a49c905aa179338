"""The PyTorch contenders: BERT from transformers, both as most users run it and as a careful user would run it.

This is the only file of minibert that imports a peer library, and only inside functions that run in a separate process.
PyTorch and transformers belong to the optional extra `peers` and are used only for comparison.

    stock     training: padded batches, with logits over the whole vocabulary at every position;
              inference: sentences batched in the given order
    tuned     training: the masked-language-model head is applied only at the masked positions
    sorted    inference: sentences sorted by length before they are split into batches, which reduces padding

Each family has variants that differ in attention: eager, sdpa (PyTorch's fused attention), or compile (sdpa under
torch.compile).
"""

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from minibert.bench.ours import BETAS, CLIP, EPS, LEARNING_RATE, WEIGHT_DECAY
from minibert.bench.workload import Workload
from minibert.data.batch import Batch, to_padded
from minibert.data.masked_batch import IGNORED, MaskedBatch, masked_to_padded

# kind of workload -> family -> contenders of the family; the fastest of them represents the family in the report
FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "training": {
        "stock": ("stock-eager", "stock-sdpa"),
        "tuned": ("tuned-eager", "tuned-sdpa", "tuned-compile"),
    },
    "inference": {
        "stock": ("stock-eager", "stock-sdpa"),
        "sorted": ("sorted-eager", "sorted-sdpa"),
    },
}


def missing() -> list[str]:
    """The packages from the extra `peers` that are not installed."""
    return [package for package in ("torch", "transformers") if find_spec(package) is None]


def contender(workload: Workload, name: str) -> tuple[list, Callable]:
    """The inputs of one turn, one per step, and the function that runs a step on its input.

    name: a contender in FAMILIES.  Raises ValueError for any other name, and RuntimeError if torch.compile is needed
    but no C++ compiler is installed.
    """
    names = [name for of_family in FAMILIES[workload.kind].values() for name in of_family]
    if name not in names:
        raise ValueError(f"unknown contender {name!r} for {workload.kind}; choose one of {', '.join(names)}")
    family, _, attention = name.partition("-")
    if attention == "compile":
        check_compiler()
    config = dict(workload.model, attn_implementation="eager" if attention == "eager" else "sdpa")
    if workload.kind == "inference":
        batches = workload.sorted_batches if family == "sorted" else workload.batches
        return [inference_inputs(batch) for batch in batches or ()], inference_step(config)
    inputs = {"stock": stock_inputs, "tuned": tuned_inputs}[family]
    step = training_step(config, family, compiled=attention == "compile")
    return [inputs(batch) for batch in workload.batches], step


def check_compiler() -> None:
    """Raise RuntimeError if there is no C++ compiler, without which torch.compile does not work on the CPU."""
    wanted = [os.environ.get("CXX"), "g++", "clang++", "c++"]
    if not any(shutil.which(compiler) for compiler in wanted if compiler):
        raise RuntimeError("torch.compile needs a C++ compiler, but g++ was not found")


def tensors(arrays: dict) -> dict:
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def stock_inputs(batch: MaskedBatch) -> dict:
    """The arguments for transformers.BertForPreTraining, as tensors."""
    padded = masked_to_padded(batch)
    del padded["position_ids"]  # they equal the default of transformers
    return tensors(padded)


def tuned_inputs(batch: MaskedBatch) -> dict:
    """The result of stock_inputs, with `labels` replaced by two tensors that describe the masked tokens only.

    masked: their indices in the flattened padded batch [M]; masked_labels: their original ids [M].
    """
    inputs = stock_inputs(batch)
    labels = inputs.pop("labels").flatten()  # [B * T]
    masked = (labels != IGNORED).nonzero().flatten()  # [M]
    return {**inputs, "masked": masked, "masked_labels": labels[masked]}


def inference_inputs(batch: Batch) -> dict:
    """The arguments for transformers.BertModel, as tensors."""
    padded = to_padded(batch)
    return tensors({name: padded[name] for name in ("input_ids", "attention_mask", "token_type_ids")})


def training_step(config: dict, family: str, compiled: bool) -> Callable:
    """A function that runs one training step on its inputs: forward and backward passes, clipping and AdamW."""
    import torch
    import transformers

    model = transformers.BertForPreTraining(transformers.BertConfig(**config)).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(decay_groups(model), lr=LEARNING_RATE, betas=BETAS, eps=EPS, fused=True)

    def stock_loss(inputs):
        return model(**inputs).loss

    def tuned_loss(inputs):
        inputs = dict(inputs)
        masked, labels, follows = (inputs.pop(name) for name in ("masked", "masked_labels", "next_sentence_label"))
        hidden, pooled = model.bert(**inputs, return_dict=False)[:2]  # [B, T, H], [B, H]
        logits = model.cls.predictions(hidden.flatten(0, 1)[masked])  # [M, V]
        cross_entropy = torch.nn.functional.cross_entropy
        return cross_entropy(logits, labels) + cross_entropy(model.cls.seq_relationship(pooled), follows)

    loss_of = {"stock": stock_loss, "tuned": tuned_loss}[family]
    if compiled:
        loss_of = torch.compile(loss_of)

    def step(inputs):
        loss = loss_of(inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def decay_groups(model: Any) -> list[dict]:
    """Two parameter groups for the optimiser: weights, with weight decay; biases and layer norms, without."""
    weights, others = [], []
    for name, parameter in model.named_parameters():
        (others if "bias" in name or "LayerNorm" in name else weights).append(parameter)
    return [dict(params=weights, weight_decay=WEIGHT_DECAY), dict(params=others, weight_decay=0.0)]


def inference_step(config: dict) -> Callable:
    """A function that computes the hidden states of all tokens and returns each sentence's mean, excluding padding."""
    import torch
    import transformers

    model = transformers.BertModel(transformers.BertConfig(**config), add_pooling_layer=False).eval()

    @torch.inference_mode()
    def step(inputs):
        hidden = model(**inputs).last_hidden_state  # [B, T, H]
        mask = inputs["attention_mask"].unsqueeze(2).to(hidden.dtype)  # [B, T, 1]
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # [B, H]

    return step
