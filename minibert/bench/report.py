"""The report of a benchmark, as a dictionary that can be written as JSON, and as readable text."""

from collections.abc import Sequence
from statistics import median

from minibert.bench.contenders import best_of, median_ratio
from minibert.bench.peers import FAMILIES
from minibert.bench.workload import Workload


def summarise(
    workload: Workload,
    first: str,
    machine: dict,
    machine_turns: list[dict],
    turns: dict[str, list[dict]],
    memory: dict[str, float],
    profiles: list[dict],
    left_out: dict[str, str],
    repeats: int,
) -> dict:
    """Build the report of a benchmark.

    first: the name of the minibert contender, whose speed is the numerator of all ratios; machine: the result of
    minibert.bench.machine.describe; machine_turns: the machine's answer in each turn; turns: each contender's answer in
    each turn; memory: each contender's peak memory in MB; profiles: the profiled turns of `first`; left_out: the
    contenders that did not run, with the reasons; repeats: the number of measured turns.
    """
    sgemm = [turn["sgemm"] for turn in machine_turns]
    bandwidth = [turn["bandwidth"] for turn in machine_turns]
    speeds = {name: [workload.count / sum(turn["seconds"]) for turn in of_one] for name, of_one in turns.items()}
    contenders = {
        name: contender_summary(turns[name], speeds[name], speeds[first], memory[name]) for name in turns
    }  # fmt: skip
    best = {}
    for family, names in FAMILIES[workload.kind].items():
        if name := best_of(names, speeds):
            best[family] = {"contender": name, **contenders[name]}
    ops = ops_summary(profiles, median(sgemm))
    return {
        "machine": {**machine, "sgemm_gflops": median(sgemm), "bandwidth_gb_s": median(bandwidth)},
        "workload": {
            "kind": workload.kind,
            "title": workload.title,
            "unit": workload.unit,
            "count": workload.count,
            "steps": len(workload.batches),
            "repeats": repeats,
            "model": workload.model,
        },
        "first": first,
        "contenders": contenders,
        "best": best,
        "step": step_summary(turns[first], sgemm, profiles, ops),
        "ops": ops,
        "left_out": left_out,
    }


def contender_summary(turns: list[dict], speeds: Sequence[float], ours: Sequence[float], memory: float) -> dict:
    """One contender's results; "ratio" is how many times as fast minibert is as this contender."""
    steps = [1e3 * seconds for turn in turns for seconds in turn["seconds"]]
    return {
        "per_second": median(speeds),
        "step_ms": {"median": median(steps), "min": min(steps), "max": max(steps)},
        "ratio": median_ratio(ours, speeds),
        "peak_memory_mb": memory,
        "turns_per_second": list(speeds),
    }


def ops_summary(profiles: list[dict], sgemm: float) -> dict[str, dict]:
    """The cost of each op per step, slowest op first; times are medians over the profiled turns."""
    summary = {}
    for name, tally in profiles[0]["ops"].items():
        steps = profiles[0]["steps"]
        seconds = median(profile["ops"][name]["seconds"] for profile in profiles) / steps
        speed = tally["flops"] / steps / seconds / 1e9
        summary[name] = {
            "calls": tally["calls"] / steps,
            "ms": 1e3 * seconds,
            "product_gflop": tally["flops"] / steps / 1e9,
            "elementwise_gflop": tally["elementwise"] / steps / 1e9,
            "moved_gb": tally["bytes"] / steps / 1e9,
            "gflops": speed,
            "share_of_sgemm": speed / sgemm,
        }
    return dict(sorted(summary.items(), key=lambda item: -item[1]["ms"]))


def step_summary(turns: list[dict], sgemm: Sequence[float], profiles: list[dict], ops: dict[str, dict]) -> dict:
    """The speed of the whole step: the operation count of its matrix products, divided by its total time.

    "between_ops_ms" is the time per step that profiled turns spent outside all ops.
    """
    flops = sum(tally["flops"] for tally in profiles[0]["ops"].values())  # per turn
    speeds = [flops / sum(turn["seconds"]) / 1e9 for turn in turns]
    profiled = 1e3 * median(profile["seconds"] for profile in profiles) / profiles[0]["steps"]
    return {
        "product_gflop": flops / profiles[0]["steps"] / 1e9,
        "gflops": median(speeds),
        "share_of_sgemm": median_ratio(speeds, sgemm),
        "between_ops_ms": max(0.0, profiled - sum(op["ms"] for op in ops.values())),
    }


def as_text(report: dict) -> str:
    """The report as readable text."""
    return "\n\n".join(part for part in (machine_text(report), contenders_text(report), ops_text(report)) if part)


def machine_text(report: dict) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return "\n".join(
        [
            f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores, {machine['system']}",
            versions,
            f"BLAS {machine['blas']}",
            f"sgemm {machine['sgemm_gflops']:,.0f} GFLOP/s (2048 x 2048), "
            f"copy {machine['bandwidth_gb_s']:,.1f} GB/s, both measured between turns",
        ]
    )


def contenders_text(report: dict) -> str:
    work, first = report["workload"], report["first"]
    lines = [
        work["title"],
        f"medians over {work['repeats']} turns of {work['steps']} steps; ratio: speed of {first} relative to that row",
        "",
        f"{'':20} {work['unit'] + '/s':>11} {'ms a step':>9} {'min':>8} {'max':>8} {'ratio':>7} {'peak memory':>12}",
    ]
    for name, one in report["contenders"].items():
        step = one["step_ms"]
        lines.append(
            f"{name:20} {one['per_second']:11,.0f} {step['median']:9,.1f} {step['min']:8,.1f} {step['max']:8,.1f} "
            f"{one['ratio']:6.2f}x {one['peak_memory_mb']:9,.0f} MB"
        )
    lines += [f"{name:20} left out: {reason}" for name, reason in report["left_out"].items()]
    lines += [
        f"{family:20} {first} is {best['ratio']:.2f} times as fast as {best['contender']}, the best of them, "
        f"with {report['contenders'][first]['peak_memory_mb'] / best['peak_memory_mb']:.0%} of its memory"
        for family, best in report["best"].items()
    ]
    return "\n".join(lines)


def ops_text(report: dict) -> str:
    step = report["step"]
    lines = [f"{'op (per step)':26} {'calls':>6} {'ms':>9} {'GFLOP/s':>9} {'of sgemm':>9} {'GB/s':>7}"]
    for name, op in report["ops"].items():
        products = f"{op['gflops']:9,.1f} {op['share_of_sgemm']:9.0%}" if op["product_gflop"] else f"{'':19}"
        moved = op["moved_gb"] / op["ms"] * 1e3
        lines.append(f"{name:26} {op['calls']:6.0f} {op['ms']:9.2f} {products} {moved:7.1f}")
    lines += [
        f"{'between the ops':26} {'':6} {step['between_ops_ms']:9.2f}",
        f"{'whole step':26} {'':6} "
        f"{report['contenders'][report['first']]['step_ms']['median']:9.2f} "
        f"{step['gflops']:9,.1f} {step['share_of_sgemm']:9.0%}",
        "",
        f"GFLOP/s counts the {step['product_gflop']:.1f} GFLOP of matrix products that a step needs, computed from",
        "the shapes; GB/s is an estimate that counts each input and output once.",
    ]
    if "attention_backward" in report["ops"]:
        lines.append("Attention's backward pass recomputes the scores, which the forward pass does not keep.")
    return "\n".join(lines)
