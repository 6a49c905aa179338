"""A profiled step against the roofline on paper (benchmarks/gpu_roofline.py), kernel by kernel."""

import re

import gpu_roofline

from minibert.models import BertConfig

PATTERNS = {  # row of the roofline -> the kernels' names, as a profiler shows them
    "matrix products (cuBLAS)": r"nvjet|cutlass|cublas|gemm|splitK|xmma",
    "attention, forward": r"\battention_forward",
    "attention, backward: delta": r"\battention_delta",
    "attention, backward: keys and values": r"\battention_d_key_value",
    "attention, backward: queries": r"\battention_d_query",
    "layernorm_forward": r"\blayernorm_forward",
    "layernorm_backward": r"\blayernorm_backward",
    "layernorm_parameters": r"\blayernorm_parameters",
    "add_bias": r"\badd_bias",
    "column_sums (gradients of biases)": r"\bcolumn_sums",
    "gelu_forward": r"\bgelu_forward",
    "gelu_backward": r"\bgelu_backward",
    "dropout of the embeddings, both ways": r"\bdropout<",
    "look_up": r"\blook_up",
    "scatter of the embeddings' gradients": r"\badd_chunks|\badd_parts|RadixSort|make_keys|split_keys|int64",
    "sums of two gradients (+)": r"cupy_add__bfloat16|\badd_into<__nv_bfloat16, __nv_bfloat16>",
    "cross_entropy_forward, count_correct": r"\bcross_entropy_forward|\bcorrect_rows|\badd_losses",
    "cross_entropy_backward": r"\bcross_entropy_backward",
    "zero gradients, global_norm": r"Memset|squares_of_part|finish_norm",
    "adamw": r"\badamw",
}
H100 = next(device for device in gpu_roofline.DEVICES if device.name == "H100")
WORKLOAD = re.compile(r"profile of (\w+), (\d+) x (\d+), ")


def paper_rows(profile: dict) -> list[list]:
    """The cells of a table: name, launches on paper and measured, ms at the limits and measured, share reached and
    expected.  profile: a row of the stage "steps"."""
    size, sequences, length = WORKLOAD.match(profile["name"]).groups()
    config = BertConfig.preset(size, 30522)
    kernels = gpu_roofline.kernels_of(config, int(sequences), int(length), gpu_roofline.parameter_count(config))
    measured = {name: [0, 0.0] for name in [*PATTERNS, "others"]}
    for name, kernel in profile["kernels"].items():
        row = next((row for row, pattern in PATTERNS.items() if re.search(pattern, name)), "others")
        measured[row][0] += kernel["calls"]
        measured[row][1] += kernel["total_us"] / 1e3
    cells = []
    for kernel in kernels:
        calls, ms = measured.get(kernel.name, (0, 0.0))
        limit = 1e3 * kernel.seconds(H100)
        reached = f"{limit / ms:.0%}" if ms else None
        expected = f"{gpu_roofline.EXPECTED[kernel.kind][0]:.0%}"
        cells.append([kernel.name, kernel.calls, calls, limit, ms, reached, expected])
    calls, ms = measured["others"]
    cells.append(["others", None, calls, None, ms, None, None])
    best, all_ms = sum(cell[3] or 0.0 for cell in cells), sum(cell[4] for cell in cells)
    cells.append(
        ["**all**", sum(c[1] or 0 for c in cells), sum(c[2] for c in cells), best, all_ms, f"{best / all_ms:.0%}", None]
    )
    return cells
