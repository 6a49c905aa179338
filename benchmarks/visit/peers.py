"""The same steps in PyTorch: transformers' BERT as a careful user trains it."""

import itertools
import time

from minibert.bench.ours import BETAS, CLIP, EPS, LEARNING_RATE
from minibert.bench.peers import decay_groups, tuned_inputs
from minibert.bench.throughput import random_batch, step_flops
from minibert.models import BertConfig
from visit.record import Record
from visit.sizes import Sizes


def run(record: Record, sizes: Sizes, size: str, sequences: int, length: int, kind: str, mode: str = "") -> None:
    """kind: "autocast" (bfloat16 autocast, float32 weights) or "bfloat16" (everything); mode: of torch.compile."""
    import torch
    import transformers

    if not torch.cuda.is_available():
        record.row(f"{size}, {sequences} x {length}, {kind}", skipped="this PyTorch sees no GPU")
        return
    torch.backends.cuda.matmul.allow_tf32 = True
    config = BertConfig.preset(size, sizes.vocabularies[0], hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    shape = transformers.BertConfig(**vars(config), attn_implementation="sdpa")
    model = transformers.BertForPreTraining(shape).cuda().train()
    if kind == "bfloat16":
        model = model.to(torch.bfloat16)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(decay_groups(model), lr=LEARNING_RATE, betas=BETAS, eps=EPS, fused=True)
    cross_entropy = torch.nn.functional.cross_entropy
    batches = [random_batch(config, sequences, length, seed) for seed in range(2)]
    inputs = [{name: tensor.cuda() for name, tensor in tuned_inputs(batch).items()} for batch in batches]
    for each in inputs:
        del each["attention_mask"]  # sequences are full: without a mask sdpa may choose flash attention

    def loss_of(input_ids, token_type_ids, masked, masked_labels, next_sentence_label):
        hidden, pooled = model.bert(input_ids=input_ids, token_type_ids=token_type_ids, return_dict=False)[:2]
        logits = model.cls.predictions(hidden.flatten(0, 1)[masked])  # [M, V]
        pairs = model.cls.seq_relationship(pooled)  # [B, 2]
        return cross_entropy(logits, masked_labels) + cross_entropy(pairs, next_sentence_label)

    began = time.perf_counter()
    if mode not in ("", "eager"):
        loss_of = torch.compile(loss_of, mode=None if mode == "default" else mode)
    numbers = itertools.count()

    def step():
        with torch.autocast("cuda", torch.bfloat16, enabled=kind == "autocast"):
            loss = loss_of(**inputs[next(numbers) % 2])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    for _ in range(sizes.warm_up):
        step()
    torch.cuda.synchronize()
    compiled = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(sizes.steps):
        loss = step()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - began) / sizes.steps
    label = f"PyTorch {kind}{', compiled ' + mode if mode else ''}: {size}, {sequences} x {length}"
    record.row(
        label, size=size, sequences=sequences, length=length, kind=kind, mode=mode, ms=1e3 * seconds,
        tokens_per_s=sequences * length / seconds, tflops=step_flops(config, batches[0]) / seconds / 1e12,
        peak_gb=torch.cuda.max_memory_allocated() / 1e9, warm_up_s=compiled, loss=float(loss),
    )  # fmt: skip
    if not mode:  # the eager runs of the stage "peers"
        from visit.timing import busy, by_kernel, profiled

        events = []
        with profiled(events):
            step()
        span, total = busy(events)
        record.row(f"profile of {label}", span_us=span, busy_us=total, launches=len(events), kernels=by_kernel(events))
