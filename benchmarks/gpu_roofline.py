"""A roofline on paper: the least that each GPU kernel of a training step must move, compute and take.

    python benchmarks/gpu_roofline.py > docs/gpu_roofline.md

NOT A MEASUREMENT.  Bytes and operations follow from shapes, limits from the makers' data sheets; the share of its limit
that a kernel reaches was assumed, for each kind below, before anything was measured.  What an H100 reached is in
docs/gpu/h100.md, which benchmarks/gpu_visit.py writes with the same rows.
"""

import argparse
from dataclasses import dataclass

from minibert.models import BertConfig

MASK_RATE = 0.15


@dataclass(frozen=True)
class Device:
    """A data sheet's peak figures, dense: GB/s of memory, TFLOP/s of float32 on CUDA cores and of 16 bits on tensor
    cores."""

    name: str
    memory: float
    cuda: float
    tensor: float


# NVIDIA's data sheets: T4 (2018), A100 40 GB SXM (2020), H100 SXM (2022)
DEVICES = (
    Device("T4", 320, 8.1, 65),
    Device("A100", 1555, 19.5, 312),
    Device("H100", 3350, 67, 989),
)

# The share of its limit that a kernel of each kind is expected to reach, and why
EXPECTED = {
    "memory": (0.80, "16-byte coalesced access, many warps: copies reach 80 to 90 % of a data sheet's bandwidth"),
    "products": (0.60, "cuBLAS at these shapes; large square products reach 70 to 80 %"),
    "attention": (
        0.25,
        "the softmax between the products uses CUDA cores, and the tiles are small",
    ),
}


@dataclass(frozen=True)
class Kernel:
    """All launches of one kernel in a training step."""

    name: str
    kind: str
    calls: int
    bytes: float
    flops: float = 0.0
    """operations of matrix products; others are not counted"""

    def seconds(self, device: Device) -> float:
        """The time at the device's limits: memory and arithmetic overlap, so the slower one counts."""
        return max(self.bytes / (device.memory * 1e9), self.flops / (device.tensor * 1e12))


def kernels_of(config: BertConfig, sequences: int, length: int, parameters: int, size: int = 2) -> list[Kernel]:
    """The kernels of one step on full sequences; size: bytes of a number.  The saving in the last layer is ignored."""
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    tokens = sequences * length
    masked = round(MASK_RATE * tokens)
    row, wide = tokens * width * size, tokens * inner * size  # bytes of [N, H] and of [N, F]
    logits = masked * config.vocab_size * size
    weights = layers * (4 * width * width + 2 * width * inner) + width * width
    products = 2 * tokens * (weights - width * width) + 2 * masked * width * (width + config.vocab_size)
    attention = 4 * tokens * length * width * layers  # two products
    return [
        Kernel(
            "matrix products (cuBLAS)",
            "products",
            18 * layers + 9,
            # two of a layer's products accumulate into a gradient [N, H]; those for weights into a float32 one
            3 * layers * (12 * row + 2 * wide) + 2 * layers * row + 8 * weights,
            3 * products,
        ),
        Kernel("attention, forward", "attention", layers, layers * 4 * row, attention),
        Kernel("attention, backward: delta", "memory", layers, layers * 2 * row),
        Kernel("attention, backward: keys and values", "attention", layers, layers * 6 * row, 2 * attention),
        Kernel("attention, backward: queries", "attention", layers, layers * 5 * row, 1.5 * attention),
        Kernel("layernorm_forward", "memory", 2 * layers + 2, (2 * layers + 1) * 4 * row),
        Kernel("layernorm_backward", "memory", 2 * layers + 2, (2 * layers + 1) * 4 * row),
        Kernel("layernorm_parameters", "memory", 2 * layers + 2, (2 * layers + 1) * 2 * row),
        Kernel("add_bias", "memory", 6 * layers + 4, layers * (10 * row + 2 * wide) + 2 * logits),
        Kernel("column_sums (gradients of biases)", "memory", 6 * layers + 4, layers * (5 * row + wide) + logits),
        Kernel("gelu_forward", "memory", layers + 1, layers * 2 * wide),
        Kernel("gelu_backward", "memory", layers + 1, layers * 3 * wide),
        Kernel("dropout of the embeddings, both ways", "memory", 2, 4 * row),
        Kernel("look_up", "memory", 1, 2 * row),
        Kernel("scatter of the embeddings' gradients", "memory", 6, 3 * row),
        Kernel("sums of two gradients (+)", "memory", layers, layers * 3 * row),
        Kernel("cross_entropy_forward, count_correct", "memory", 4, 2 * logits),
        Kernel("cross_entropy_backward", "memory", 2, 2 * logits),
        Kernel("zero gradients, global_norm", "memory", 3, 8 * parameters),
        Kernel("adamw", "memory", 1, (16 + 1 + 12 + size) * parameters),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="base")
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    options = parser.parse_args()
    config = BertConfig.preset(options.size, 30528)
    print(as_markdown(options, kernels_of(config, options.sequences, options.length, parameter_count(config))))


def parameter_count(config: BertConfig) -> int:
    """The parameters of a BERT with its pre-training heads, without biases and layer norms."""
    width = config.hidden_size
    matrices = config.num_hidden_layers * (4 * width**2 + 2 * width * config.intermediate_size)
    return matrices + (config.vocab_size + 512 + 2) * width + 2 * width * width


def as_markdown(options, kernels: list[Kernel]) -> str:
    """The page: the table, what was assumed, the sums."""
    command = f"python benchmarks/gpu_roofline.py --size {options.size} --sequences {options.sequences}"
    lines = [
        "# A roofline on paper",
        "",
        "**Not a measurement.** Computed from shapes and data sheets by",
        f"`{command} --length {options.length}`.",
        "",
        f"One training step of BERT-{options.size} in 16 bits, {options.sequences} sequences of {options.length} "
        "tokens: for each kernel",
        "the bytes and operations of a whole step, the milliseconds that they take at a device's limits (the slower of",
        "memory and tensor cores), and the share of that limit which the kernel is expected to reach.",
        "",
        "| kernel | launches | MB | GFLOP | " + " | ".join(f"{d.name}, ms" for d in DEVICES) + " | expected share |",
        "|---|" + "--:|" * (4 + len(DEVICES)),
    ]
    for kernel in kernels:
        times = " | ".join(f"{1e3 * kernel.seconds(device):.2f}" for device in DEVICES)
        lines.append(
            f"| {kernel.name} | {kernel.calls} | {kernel.bytes / 1e6:,.0f} | {kernel.flops / 1e9:,.0f} | {times} | "
            f"{EXPECTED[kernel.kind][0]:.0%} |"
        )
    best = [sum(kernel.seconds(device) for kernel in kernels) for device in DEVICES]
    expected = [sum(k.seconds(device) / EXPECTED[k.kind][0] for k in kernels) for device in DEVICES]
    tokens = options.sequences * options.length
    for title, seconds in (("all, at the limits", best), ("all, as expected", expected)):
        cells = " | ".join(f"{1e3 * s:.1f}" for s in seconds)
        lines.append(f"| **{title}** | {sum(k.calls for k in kernels)} | | | {cells} | |")
    speeds = ", ".join(f"{d.name} {tokens / s:,.0f}" for d, s in zip(DEVICES, expected, strict=True))
    lines += [
        "",
        f"As expected, that would be in tokens a second: {speeds}; as long as the host keeps up.",
        "A launch costs the host between ten and thirty microseconds of Python, so small models and small batches are",
        "bound by Python and not by the device. What an H100 reached of each row: [gpu/h100.md](gpu/h100.md).",
        "",
        "The expected shares were written down before the first measurement, and are kept as they were:",
        "",
    ]
    lines += [f"- {kind}, {share:.0%}: {why}." for kind, (share, why) in EXPECTED.items()]
    lines += [
        "",
        "Limits, from NVIDIA's data sheets (dense, without sparsity): "
        + "; ".join(f"{d.name} {d.memory:,} GB/s, {d.tensor:g} TFLOP/s on tensor cores" for d in DEVICES)
        + ".",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
