"""How fast this GPU runs minibert: ceilings, kernels, whole steps, a real pre-training."""

import json
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from minibert.bench.ours import training_step
from minibert.bench.throughput import dtype_of, product_rate, random_batch, step_flops
from minibert.bench.work import bytes_moved
from minibert.models import BertConfig
from minibert.ops import AdamWStep, load_backend
from minibert.ops.table import BY_NAME
from visit.check import load
from visit.inputs import GROUPS, Numbers, OnDevice, attention, calls
from visit.record import Record, read_rows
from visit.sizes import Sizes
from visit.timing import busy, by_events, by_kernel, draw_timeline, has_profiler, host_seconds, profiled, wait

SPREAD = 64 << 20  # bytes: several inputs alternate, together larger than a cache


def ceilings(record: Record, sizes: Sizes) -> None:
    """The device's own speed: a copy, large products, and every product of the model, with CuPy and with PyTorch."""
    backend = load()
    record.row("copy", bytes=2 * sizes.copied, gb_per_s=copy_rate(backend.xp, sizes.copied))
    for precision in ("bfloat16", "float16", "tf32", "float32"):
        load_backend("gpu", tf32=precision == "tf32")
        times = min(200 if precision.endswith("16") else 30, 30 * sizes.steps)
        tflops = product_rate(backend, precision, sizes.side, times)
        record.row("product", side=sizes.side, precision=precision, tflops=tflops)
    load_backend("gpu", tf32=False)
    n, h, f, m = sizes.tokens, sizes.width, sizes.inner, sizes.masked
    shapes = [("H to H", n, h, h), ("H to F", n, h, f), ("F to H", n, f, h), ("H to H, masked", m, h, h)]
    shapes += [(f"H to V = {v}", m, h, v) for v in sizes.vocabularies]
    for shape in shapes:
        products_of_layer(record, backend, sizes, *shape)


def copy_rate(xp, size: int) -> float:
    """GB/s that are read and written while `size` bytes are copied, over 0.3 s or more."""
    source = xp.zeros(size // 4, np.float32)
    target = xp.empty_like(source)
    target[...] = source
    wait(xp)
    began, times = time.perf_counter(), 0
    while time.perf_counter() - began < 0.3:
        for _ in range(10):
            target[...] = source
        wait(xp)
        times += 10
    return 2 * size * times / (time.perf_counter() - began) / 1e9


def products_of_layer(record: Record, backend, sizes: Sizes, label: str, rows: int, inputs: int, outputs: int) -> None:
    """The three products of a linear layer, forward and backward, in bfloat16."""
    xp, numbers, dtype = backend.xp, Numbers(), dtype_of("bfloat16")
    x, weight, d_y = (
        backend.array(numbers(*shape)).astype(dtype) for shape in ((rows, inputs), (outputs, inputs), (rows, outputs))
    )
    flops = 2 * rows * inputs * outputs
    for kind, left, right in (("y", x, weight.T), ("d_x", d_y, weight), ("d_weight", d_y.T, x)):
        out = xp.empty((left.shape[0], right.shape[1]), dtype)
        seconds = by_events(xp, lambda a=left, b=right, o=out: xp.matmul(a, b, out=o), sizes.repeats)
        values = dict(rows=rows, inputs=inputs, outputs=outputs, us=1e6 * seconds, tflops=flops / seconds / 1e12)
        if has_profiler():
            seconds = torch_product_seconds(left, right, sizes.repeats)
            values |= dict(torch_us=1e6 * seconds, torch_tflops=flops / seconds / 1e12)
        record.row(f"{kind} of {label}", **values)


def torch_product_seconds(left, right, times: int) -> float:
    """PyTorch's product of random bfloat16 matrices with the shapes and the layouts of two CuPy arrays."""
    import torch

    def like(array):
        tensor = torch.randn(array.shape, device="cuda", dtype=torch.bfloat16)
        return tensor if array.flags.c_contiguous else tensor.t().contiguous().t()

    a, b = like(left), like(right)
    out = torch.empty(len(a), b.shape[1], device="cuda", dtype=torch.bfloat16)
    return torch_seconds(torch, lambda: torch.mm(a, b, out=out), times)


def torch_seconds(torch, function, times: int) -> float:
    function()
    seconds = []
    for _ in range(5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            function()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3 / times)
    return median(seconds)


def ceilings_of(record: Record) -> tuple[float, float]:
    """GB/s and TFLOP/s in bfloat16 as measured by an earlier stage; NaN if it did not run."""
    rows = [row for row in read_rows(record.path.parent) if row["stage"] == "ceilings"]
    copy = [row["gb_per_s"] for row in rows if row["name"] == "copy"]
    product = [row["tflops"] for row in rows if row["name"] == "product" and row["precision"] == "bfloat16"]
    return (copy or [float("nan")])[-1], (product or [float("nan")])[-1]


def kernels(record: Record, sizes: Sizes) -> None:
    """Each op in bfloat16: the time of its kernels, and the bytes they move as a share of the ceiling."""
    backend = load()
    xp = backend.xp
    copy, product = ceilings_of(record)
    dtype = dtype_of("bfloat16")
    for group in GROUPS:
        for call in calls(group, sizes):
            variants = [OnDevice(backend, call, dtype)]
            size = sum(array.nbytes for array in variants[0].inputs.values())
            while size * len(variants) < SPREAD and len(variants) < 4:
                variants.append(OnDevice(backend, call, dtype))
            y, cache = variants[0].forward()
            for one in variants:
                one.upstream(y)
            for way in ("forward", "backward"):
                runs = []
                if way == "forward":
                    runs = [one.forward for one in variants]
                    moved = bytes_moved(f"{call.op}_{way}", (variants[0].inputs, variants[0].integers), y)
                else:
                    for one in variants:
                        _, cache = one.forward()
                        runs.append(lambda one=one, cache=cache: one.backward(one.d_y, cache))
                    gradients = runs[0]()
                    moved = bytes_moved(f"{call.op}_{way}", (variants[0].d_y, cache), gradients)
                flops = flops_of(call, way)
                row(record, xp, f"{call.label}, {way}", runs, sizes, moved, flops, copy, product)
            del variants, y, cache, runs
            if hasattr(xp, "get_default_memory_pool"):
                xp.get_default_memory_pool().free_all_blocks()
    adamw(record, backend, sizes, copy)
    if has_profiler():
        peers(record, sizes, copy, product)


def flops_of(call, way: str) -> float:
    """Operations of an op's matrix products."""
    if call.op == "linear":
        rows, inputs = call.inputs["x"].shape
        return 2.0 * rows * inputs * len(call.inputs["weight"]) * (1 if way == "forward" else 2)
    if call.op == "attention":
        q, k = (np.diff(call.integers[f"cu_seqlens_{which}"]).astype(float) for which in "qk")
        pairs = float(np.dot(q, k)) * (0.5 if call.fixed["causal"] else 1)
        return 4.0 * call.inputs["key"].shape[1] * pairs * (1 if way == "forward" else 2.5)
    if call.op == "lstm":
        return BY_NAME["lstm"].products(call.inputs | call.fixed) * (1 if way == "forward" else 2)
    return 0.0


def row(record, xp, label, runs, sizes, moved, flops, copy, product) -> None:
    """Time some functions that take turns; a profiler sees their kernels if PyTorch is installed."""
    turns = [runs[i % len(runs)] for i in range(max(sizes.repeats, 2))]
    turns[0]()
    wait(xp)
    values, events = {}, []
    if has_profiler():
        with profiled(events):
            for turn in turns:
                turn()
        found = by_kernel(events)
        us = sum(kernel["total_us"] for kernel in found.values()) / len(turns)
        values["kernels"] = {
            name[:120]: [kernel["calls"] / len(turns), round(kernel["median_us"], 2)] for name, kernel in found.items()
        }
    else:
        us = 1e6 * by_events(xp, runs[0], 2, groups=1)
    values |= dict(us=us, gb_per_s=moved / us / 1e3, share_of_copy=moved / us / 1e3 / copy)
    if flops:
        values |= dict(tflops=flops / us / 1e6, share_of_product=flops / us / 1e6 / product)
    values["host_us"] = 1e6 * host_seconds(xp, runs[0])
    record.row(label, **values)


def adamw(record, backend, sizes, copy) -> None:
    """The optimiser on all parameters at once."""
    xp, count = backend.xp, sizes.parameters
    arrays = [xp.zeros(count, np.float32) for _ in range(4)]
    arrays[1] += 1e-3
    decayed, target = xp.ones(count, bool), xp.zeros(count, dtype_of("bfloat16"))
    norm = backend.global_norm(arrays[1])
    step = AdamWStep(learning_rate=1e-4, beta1=0.9, beta2=0.98, eps=1e-6, weight_decay=0.01, max_norm=1.0)
    runs = [lambda: backend.adamw(*arrays, decayed, step, norm, copy=target)]
    row(record, xp, "adamw, 16-bit copy", runs, sizes, (16 + 1 + 12 + 2) * count, 0, copy, 1)
    row(record, xp, "global_norm", [lambda: backend.global_norm(arrays[1])], sizes, 4 * count, 0, copy, 1)


def peers(record, sizes: Sizes, copy, product) -> None:
    """PyTorch's kernels for the same sizes: flash attention, layer norm, the loss, AdamW."""
    import torch
    from torch.nn import functional

    n, h, heads = sizes.tokens, sizes.width, sizes.heads

    def randn(*shape, grad=True):
        return torch.randn(*shape, device="cuda", dtype=torch.bfloat16, requires_grad=grad)

    def time_of(label, forward, inputs, moved=0.0, flops=0.0):
        y = forward()
        d_y = torch.randn_like(y)
        for way, run, share in (
            ("forward", forward, 1.0),
            ("backward", lambda: torch.autograd.grad(y, inputs, d_y, retain_graph=True), 2.5),
        ):
            events = []
            run()
            with profiled(events):
                for _ in range(sizes.repeats):
                    run()
            found = by_kernel(events)
            us = sum(kernel["total_us"] for kernel in found.values()) / sizes.repeats
            values = dict(
                us=us,
                kernels={k[:120]: [v["calls"] / sizes.repeats, round(v["median_us"], 2)] for k, v in found.items()},
            )
            if flops:
                values |= dict(tflops=flops * share / us / 1e6, share_of_product=flops * share / us / 1e6 / product)
            record.row(f"PyTorch {label}, {way}", **values)

    for length in sizes.lengths:
        q, k, v = (randn(n // length, heads, length, h // heads) for _ in range(3))
        time_of(
            f"sdpa, T = {length}, dropout",
            lambda q=q, k=k, v=v: functional.scaled_dot_product_attention(q, k, v, dropout_p=0.1),
            (q, k, v),
            flops=4.0 * n * length * h,
        )
    x, weight, bias = randn(n, h), randn(h), randn(h)
    time_of("layer_norm", lambda: functional.layer_norm(x, (h,), weight, bias), (x, weight, bias))
    wide = randn(n, sizes.inner)
    time_of("gelu", lambda: functional.gelu(wide), (wide,))
    logits = randn(sizes.masked, sizes.vocabularies[0])
    labels = torch.randint(0, sizes.vocabularies[0], (sizes.masked,), device="cuda")
    time_of("cross_entropy", lambda: functional.cross_entropy(logits, labels), (logits,))
    parameter = torch.nn.Parameter(torch.zeros(sizes.parameters, device="cuda"))
    parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.AdamW([parameter], fused=True)
    optimizer.step()
    record.row("PyTorch adamw, fused, float32", us=1e6 * torch_seconds(torch, optimizer.step, sizes.repeats))


def steps(record: Record, sizes: Sizes) -> None:
    """Whole training steps: time, host time, memory, model FLOP utilisation, and a profile of one step."""
    backend = load()
    cases = [(sizes.model, *workload, "bfloat16") for workload in sizes.workloads]
    cases += [(sizes.model, *sizes.workloads[0], precision) for precision in ("tf32", "float16")]
    cases += [(name, 32, 128, "bfloat16") for name in sizes.small_models if not sizes.rehearsal]
    for size, sequences, length, precision in cases:
        load_backend("gpu", tf32=precision == "tf32")
        backend.xp.get_default_memory_pool().free_all_blocks()
        run = steps_of(record, backend, sizes, size, sequences, length, precision)
        if precision == "bfloat16" and has_profiler():
            profile_step(record, run, f"{size}, {sequences} x {length}, {precision}")
        del run  # frees the model before the next one
    load_backend("gpu", tf32=False)


def steps_of(record: Record, backend, sizes: Sizes, size: str, sequences: int, length: int, precision: str):
    """Time steps of one model, write a row, and return a function that does one more step."""
    xp, (_, product) = backend.xp, ceilings_of(record)
    config = BertConfig.preset(size, sizes.vocabularies[0], hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    step = training_step(config, backend, dtype_of(precision))
    batches = [random_batch(config, sequences, length, seed) for seed in range(2)]
    for number in range(sizes.warm_up):
        step(batches[number % 2])
    wait(xp)
    marks = [xp.cuda.Event() for _ in range(sizes.steps + 1)]
    began = time.perf_counter()
    marks[0].record()
    for number in range(sizes.steps):
        loss = step(batches[number % 2])
        marks[number + 1].record()
    wait(xp)
    wall = (time.perf_counter() - began) / sizes.steps
    each = [xp.cuda.get_elapsed_time(a, b) for a, b in zip(marks, marks[1:], strict=False)]
    flops, pool = step_flops(config, batches[0]), xp.get_default_memory_pool()
    record.row(
        f"{size}, {sequences} x {length}, {precision}", size=size, sequences=sequences, length=length,
        precision=precision, ms=1e3 * wall, median_ms=median(each),
        host_ms=1e3 * host_seconds(xp, partial(step, batches[0])), tokens_per_s=sequences * length / wall,
        tflops=flops / wall / 1e12, share_of_product=flops / wall / 1e12 / product,
        peak_gb=pool.total_bytes() / 1e9, used_gb=pool.used_bytes() / 1e9, loss=float(loss),
    )  # fmt: skip
    return partial(step, batches[0])


def profile_step(record: Record, run, label: str) -> None:
    """The kernels of one step, as a row, and over time as a file and a picture."""
    events = []
    with profiled(events):
        run()
    span, total = busy(events)
    kernels = by_kernel(events)
    record.row(f"profile of {label}", span_us=span, busy_us=total, launches=len(events), kernels=kernels)
    name = "step-" + label.rpartition(", ")[0].replace(", ", "-").replace(" ", "")
    (record.path.parent / f"{name}.json").write_text(json.dumps(events))
    try:
        draw_timeline(events, f"One training step: {label}", record.path.parent / f"{name}.png")
    except ImportError as error:
        print("no picture:", error)


def pretraining(record: Record, sizes: Sizes) -> None:
    """A real `minibert pretrain`: the loss falls; its speed compared with the bare step."""
    from minibert.ops.gpu import library
    from minibert.training import PretrainConfig, pretrain

    size, count, tokens = sizes.pretrain
    out = record.path.parent / "run"
    model = Path(__file__).parents[2] / "lessons" / "model"
    config = PretrainConfig(
        out=str(out), backend="gpu", emulate=library.emulated, precision="bfloat16", size=size, vocab=str(model),
        steps=count, batch_tokens=tokens, lengths=("128:1.0",) if count > 2 else ("64:1.0",), learning_rate=1e-4,
        warmup=0.2, dropout=0.1, bias_correction=True, log_every=10, eval_every=10**6, final_pairs=200,
        save_every=10**6,
    )  # fmt: skip
    began = time.perf_counter()
    code = pretrain(config)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    train = [r for r in rows if r.get("kind", r.get("what", "train")) == "train" and "tokens_per_second" in r]
    first, last = train[0], train[-1]
    speeds = sorted({r["tokens_per_second"] for r in train[len(train) // 3 :]})
    record.row(
        f"pretrain, {size}, {count} steps of {tokens} tokens", exit=code, seconds=time.perf_counter() - began,
        first_loss=first["mlm_loss"], last_loss=last["mlm_loss"], tokens_per_s=median(speeds),
        passed=bool(last["mlm_loss"] < first["mlm_loss"]) or count < 10,
    )  # fmt: skip


def ragged(record: Record, sizes: Sizes) -> None:
    """Ragged attention against PyTorch's varlen flash attention, which has no dropout, so ours has none here."""
    backend = load()
    xp, dtype = backend.xp, dtype_of("bfloat16")
    copy, product = ceilings_of(record)
    random, numbers = np.random.default_rng(3), Numbers()
    for longest in sizes.lengths:
        drawn = random.integers(1, longest + 1, sizes.tokens)
        lengths = drawn[: max(int(np.searchsorted(np.cumsum(drawn), sizes.tokens)), 1)]
        call = attention(f"ragged 1 to {longest}, no dropout", numbers, sizes, lengths)
        call.dropout = None
        one = OnDevice(backend, call, dtype)
        y, cache = one.forward()
        d_y = one.upstream(y)
        for way, run in (("forward", one.forward), ("backward", lambda o=one, d=d_y, c=cache: o.backward(d, c))):
            row(record, xp, f"attention, {call.label}, {way}", [run], sizes, 0, flops_of(call, way), copy, product)
        if has_profiler():
            varlen(record, sizes, call, xp, copy, product)


def varlen(record, sizes, call, xp, copy, product) -> None:
    import torch
    from torch.nn.attention.varlen import varlen_attn

    heads, width = sizes.heads, sizes.width // sizes.heads
    cu_seqlens = torch.tensor(call.integers["cu_seqlens_k"].astype(np.int32), device="cuda")
    longest, tokens = int(np.diff(call.integers["cu_seqlens_k"]).max()), len(call.inputs["key"])
    q, k, v = (
        torch.randn(tokens, heads, width, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3)
    )

    def forward():
        return varlen_attn(q, k, v, cu_seqlens, cu_seqlens, longest, longest)

    y = forward()
    d_y = torch.randn_like(y)

    def backward():
        return torch.autograd.grad(y, (q, k, v), d_y, retain_graph=True)

    for way, run in (("forward", forward), ("backward", backward)):
        label = f"PyTorch varlen, {call.label}, {way}"
        row(record, xp, label, [run], sizes, 0, flops_of(call, way), copy, product)


def default_run(record: Record, sizes: Sizes) -> None:
    """The whole default run, `minibert pretrain --backend gpu`, as README shows it for the CPU."""
    from minibert.ops.gpu import library
    from minibert.training import PretrainConfig, pretrain

    out = record.path.parent / "default-run"
    changes = dict(steps=3, final_pairs=20, eval_pairs=20, vocab=str(Path(__file__).parents[2] / "lessons" / "model"))
    config = PretrainConfig(
        out=str(out), backend="gpu", emulate=library.emulated, **(changes if sizes.rehearsal else {})
    )
    began = time.perf_counter()
    code = pretrain(config)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = [r for r in rows if r["kind"] == "evaluation"][-1]
    speeds = [r["tokens_per_second"] for r in rows if r["kind"] == "train"]
    record.row(
        "default run", exit=code, seconds=time.perf_counter() - began, steps=config.steps, tokens_per_s=median(speeds),
        masked_accuracy=last["mlm_accuracy"], mlm_loss=last["mlm_loss"], nsp_accuracy=last["nsp_accuracy"],
    )  # fmt: skip
