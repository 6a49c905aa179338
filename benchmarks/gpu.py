"""minibert beside transformers with PyTorch on one GPU: training steps, in turns, on the same batches.

    python benchmarks/gpu.py --size base --sequences 32 --length 128

PyTorch runs as a careful user would run it: bfloat16 autocast, fused AdamW, flash attention (sdpa), the masked-language
head on the masked positions only; and once more under torch.compile.  minibert runs in bfloat16 and in float32.
Sequences are full, so nobody pays for padding.  It needs a GPU, CuPy, and a PyTorch that was built for CUDA.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from minibert.bench.ours import BETAS, CLIP, EPS, LEARNING_RATE, training_step
from minibert.bench.peers import decay_groups, tuned_inputs
from minibert.bench.throughput import dtype_of, product_rate, random_batch, step_flops, wait_for
from minibert.commands.selftest_checks import device_line
from minibert.models import BertConfig
from minibert.ops import load_backend

STEPS, WARM_UP = 10, 3  # of a turn; of a contender before its first turn


def main() -> int:
    options = arguments()
    try:
        backend = load_backend("gpu")
    except RuntimeError as error:  # no CuPy, no driver or no GPU: it says which
        print(f"benchmarks/gpu.py: {error}", file=sys.stderr)
        return 2
    config = BertConfig.preset(
        options.size, options.vocab_size, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1
    )
    batches = [random_batch(config, options.sequences, options.length, seed) for seed in range(2)]
    contenders = {f"minibert {p}": ours(backend, config, batches, p) for p in ("bfloat16", "float32")}
    contenders |= peers(config, batches)
    seconds = {name: [] for name in contenders}
    for turn in contenders.values():
        turn(WARM_UP)
    for _ in range(options.repeats):
        for name, turn in contenders.items():
            began = time.perf_counter()
            turn(STEPS)
            seconds[name].append((time.perf_counter() - began) / STEPS)
    limit = product_rate(backend, "bfloat16")
    report = {
        "device": device_line(backend.xp),
        "workload": vars(options) | {"json": None},
        "bfloat16 product, TFLOP/s": limit,
        "contenders": {name: figures(of, batches, config, limit) for name, of in seconds.items()},
    }
    print(as_text(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="base", help="of the model (default: base)")
    parser.add_argument("--vocab-size", type=int, default=30522)
    parser.add_argument("--sequences", type=int, default=32, help="in a batch (default: 32)")
    parser.add_argument("--length", type=int, default=128, help="tokens of a sequence (default: 128)")
    parser.add_argument("--repeats", type=int, default=5, help="turns; figures are medians over them (default: 5)")
    parser.add_argument("--json", type=Path, help="write the report to this file too")
    return parser.parse_args()


def ours(backend, config, batches, precision):
    """A function of a number of steps, which it takes; the device is done when it returns."""
    step = training_step(config, backend, dtype_of(precision))

    def turn(steps):
        for number in range(steps):
            step(batches[number % len(batches)])
        wait_for(backend)

    return turn


def peers(config, batches) -> dict:
    """PyTorch's contenders; none, with the reason on standard error, where PyTorch is missing or has no CUDA."""
    try:
        import torch
        import transformers
    except ImportError as error:
        print(f"peers are left out: {error}", file=sys.stderr)
        return {}
    if not torch.cuda.is_available():
        print("peers are left out: this PyTorch has no CUDA", file=sys.stderr)
        return {}
    shape = transformers.BertConfig(**vars(config), attn_implementation="sdpa")
    inputs = [{name: tensor.cuda() for name, tensor in tuned_inputs(batch).items()} for batch in batches]
    return {f"PyTorch bfloat16{', compiled' if c else ''}": peer(torch, transformers, shape, inputs, c) for c in (0, 1)}


def peer(torch, transformers, shape, inputs, compiled):
    """A function of a number of steps, as `ours`."""
    model = transformers.BertForPreTraining(shape).cuda().train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(decay_groups(model), lr=LEARNING_RATE, betas=BETAS, eps=EPS, fused=True)
    cross_entropy = torch.nn.functional.cross_entropy

    def loss_of(input_ids, attention_mask, token_type_ids, masked, masked_labels, next_sentence_label):
        hidden, pooled = model.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, return_dict=False
        )[:2]
        logits = model.cls.predictions(hidden.flatten(0, 1)[masked])  # [M, V]
        pairs = model.cls.seq_relationship(pooled)  # [B, 2]
        return cross_entropy(logits, masked_labels) + cross_entropy(pairs, next_sentence_label)

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def turn(steps):
        for number in range(steps):
            with torch.autocast("cuda", torch.bfloat16):
                loss = loss_of(**inputs[number % len(inputs)])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            optimizer.zero_grad()
        torch.cuda.synchronize()

    return turn


def figures(seconds, batches, config, limit) -> dict[str, float]:
    """What one contender's turns come to: seconds of a step, one for each turn."""
    step, tokens = median(seconds), np.mean([len(batch.token_ids) for batch in batches])
    tflops = step_flops(config, batches[0]) / step / 1e12
    return {"ms": 1e3 * step, "tokens per second": tokens / step, "TFLOP/s": tflops, "of the product": tflops / limit}


def as_text(report: dict) -> str:
    lines = [report["device"], f"a large product in bfloat16: {report['bfloat16 product, TFLOP/s']:.1f} TFLOP/s"]
    first = next(iter(report["contenders"].values()))["tokens per second"]
    for name, got in report["contenders"].items():
        lines.append(
            f"{name:28}{got['ms']:9.2f} ms/step{got['tokens per second']:12,.0f} tokens/s{got['TFLOP/s']:8.1f} TFLOP/s"
            f"{got['of the product']:7.0%}   minibert's first is {first / got['tokens per second']:.2f} times as fast"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
