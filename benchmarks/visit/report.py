"""The results of one or more visits as Markdown."""

import csv
import io
from collections import defaultdict
from pathlib import Path

from visit.paper import paper_rows
from visit.record import read_rows

DATA_SHEET = 989.0  # TFLOP/s of an H100 SXM on tensor cores in 16 bits, dense (NVIDIA's data sheet, 2022)
TOP = 14  # kernels of a step that are listed
NOT_YET = "not measured yet"
COUNTERPARTS = {  # the PyTorch counterparts of our ops
    "layernorm": "PyTorch layer_norm",
    "gelu": "PyTorch gelu",
    "cross_entropy, V = 30522": "PyTorch cross_entropy",
    "attention, T = 128": "PyTorch sdpa, T = 128, dropout",
    "attention, T = 512": "PyTorch sdpa, T = 512, dropout",
}


class Results:
    """Rows of several folders; a later row replaces an earlier one of the same stage, name and precision."""

    def __init__(self, folders: list[Path]):
        self.folders = [Path(folder) for folder in folders]
        found = {}
        for folder in self.folders:
            for row in read_rows(folder):
                key = row["stage"], row["name"], row.get("precision"), row.get("part"), row.get("package")
                found.pop(key, None)  # so that it moves to the end
                found[key] = {**row, "visit": folder.name}
        self.rows = list(found.values())

    def of(self, stage: str, *columns: str) -> list[dict]:
        """The rows of a stage that have one of the columns, in their order."""
        rows = [row for row in self.rows if row["stage"] == stage and row["name"] != "outcome"]
        return [row for row in rows if not columns or any(column in row for column in columns)]

    def first(self, stage: str, name: str, column: str, **others):
        """A value of a row, or None."""
        for row in self.of(stage, column):
            if row["name"] == name and all(row.get(key) == value for key, value in others.items()):
                return row[column]
        return None


def report(folders: list[Path], stages: list[str]) -> str:
    """stages: the names of all stages, to report which of them were not measured."""
    results = Results(folders)
    lines = ["# What was measured on a GPU", ""]
    devices = [row["line"] for row in results.rows if row["name"] == "device"]
    lines += devices[-1:] or [f"device: {NOT_YET}"]
    if any(row.get("emulated") for row in results.rows):
        lines += ["", "A REHEARSAL on the emulator, at tiny sizes: its times say nothing of any GPU."]
    if len(folders) > 1:
        lines += [
            "",
            f"Visits: {', '.join(f.name for f in results.folders)}; each figure is of the latest that has it.",
        ]
    sections = (
        ("Stages that did not pass", outcomes(results)),
        ("Is it right?", correctness(results)),
        ("Ceilings", ceilings(results)),
        ("Matrix products in bfloat16, CuPy beside PyTorch", products(results)),
        ("Ops in bfloat16", kernels(results)),
        ("Whole training steps", steps(results)),
        ("A step's kernels", top_kernels(results)),
        ("Beside the roofline on paper", on_paper(results)),
        ("Ragged attention beside PyTorch's varlen, without dropout", ragged(results)),
        ("minibert pretrain", pretraining(results)),
        ("Nsight Compute", nsight(results)),
    )
    for title, body in sections:
        lines += ["", f"## {title}", "", *(body or [NOT_YET + "."])]
    measured = {row["stage"] for row in results.rows if row["name"] != "outcome" and "skipped" not in row}
    missing = [stage for stage in stages if stage not in measured]
    lines += ["", "## Not measured", "", ", ".join(missing) + "." if missing else "Every stage has results."]
    return "\n".join(lines) + "\n"


def table(head: list[str], rows: list[list]) -> list[str]:
    """Markdown; the first column is text, the others are numbers."""
    if not rows:
        return []
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(as_text(cell) for cell in row) + " |" for row in rows]


def as_text(value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("|", "/")
    return f"{value:,.0f}" if abs(value) >= 1000 or isinstance(value, int) else f"{value:.3g}"


def share(part, whole) -> str | None:
    return f"{part / whole:.0%}" if part and whole else None


# ------------------------------------------------------------------------------------------------------ correctness


def outcomes(results: Results) -> list[str]:
    rows = [row for row in results.rows if row["name"] == "outcome"]
    bad = [
        [row["part"], row["outcome"], row["visit"], (row.get("last_lines") or [""])[-1][:120]]
        for row in rows
        if row["outcome"] != "passed"
    ]
    return table(["stage", "outcome", "visit", "last line"], bad) or [f"All {len(rows)} passed."] * bool(rows)


def correctness(results: Results) -> list[str]:
    worst, waited, bits, failed = defaultdict(dict), 0, True, []
    rows = results.of("ops", "passed")
    for row in rows:
        errors = {k: v for k, v in row.items() if k == "error" or k == "y" or k.startswith("d_")}
        name = row["name"].partition(",")[0]
        worst[name][row["precision"]] = max(worst[name].get(row["precision"], 0.0), *errors.values())
        waited += row.get("waited") is not None
        bits &= row.get("same_bits", True)
        if not row["passed"]:
            failed.append(f"{row['name']} in {row['precision']} ({row['visit']})")
    lines = []
    if rows:
        lines += [
            "Each op at real size (32,768 tokens, base), outputs filled with NaN first: the largest relative error of",
            "a result or gradient, beside float64 on the same device from the same rounded inputs. "
            f"{'The same bits twice, in every case.' if bits else 'NOT the same bits twice.'}",
            f"Calls that waited for the device: {waited}. Failed: {', '.join(failed) or 'none'}.",
            "",
        ]
        precisions = ["float32", "float16", "bfloat16"]
        lines += table(["op", *precisions], [[op, *(e.get(p) for p in precisions)] for op, e in worst.items()])
    training = results.of("training", "difference")
    if training:
        lines += ["", "Twenty steps of training: the largest difference of a loss from the reference in float64.", ""]
        cells = [[r["precision"], r["difference"], r["bound"], "yes" if r["same_bits"] else "NO"] for r in training]
        lines += table(["precision", "difference", "at most", "same bits twice"], cells)
    gradients = results.of("gradients", "passed")
    if gradients:
        good = sum(row["passed"] for row in gradients)
        lines += [
            "",
            f"Finite differences, every element, float64: {good} of {len(gradients)} ops, layers, models pass.",
        ]
    for row in results.of("sanitizer", "exit"):
        lines += ["", f"compute-sanitizer {row['name']}: {row['said'][-1].strip('= ').lower()}."]
    for row in results.of("tests", "said"):
        lines += ["", f'pytest -m "gpu and not slow": {row["said"][-1].strip("= ")} ({row["visit"]}).']
    return lines


# ------------------------------------------------------------------------------------------------------------ speed


def ceilings(results: Results) -> list[str]:
    rows = [["copy, device to device", None, r["gb_per_s"]] for r in results.of("ceilings", "gb_per_s")]
    rows += [
        [f"product of {r['side']:,} x {r['side']:,}, {r['precision']}", r["tflops"], None]
        for r in results.of("ceilings", "side")
    ]
    return table(["", "TFLOP/s", "GB/s"], rows)


def products(results: Results) -> list[str]:
    rows = [
        [
            *(row["name"], row["rows"], row["inputs"], row["outputs"], row["us"], row["tflops"]),
            *(row.get("torch_us"), row["torch_us"] / row["us"] if row.get("torch_us") else None),
        ]
        for row in results.of("ceilings", "rows")
    ]
    head = ["product", "rows", "in", "out", "CuPy, µs", "TFLOP/s", "PyTorch, µs", "PyTorch / CuPy"]
    return table(head, rows)


def kernels(results: Results) -> list[str]:
    rows = []
    for row in results.of("kernels", "us"):
        name, _, way = row["name"].rpartition(", ")
        if name.startswith("PyTorch"):
            continue
        other = results.first("kernels", f"{COUNTERPARTS.get(name)}, {way}", "us")
        if row["name"] == "adamw, 16-bit copy":
            other = results.first("kernels", "PyTorch adamw, fused, float32", "us")
        ratio = other / row["us"] if other else None
        cells = [row.get(key) for key in ("us", "gb_per_s")], share(row.get("share_of_copy"), 1)
        product = row.get("tflops"), share(row.get("share_of_product"), 1)
        rows.append([row["name"], *cells[0], cells[1], *product, row.get("host_us"), other, ratio])
    head = ["op", "µs", "GB/s", "of copy", "TFLOP/s", "of product", "host, µs", "PyTorch, µs", "PyTorch / ours"]
    note = "Times are those of the kernels, added up; GB/s count each array among arguments and results once."
    return [note, "", *table(head, rows)] if rows else []


def steps(results: Results) -> list[str]:
    product = results.first("ceilings", "product", "tflops", precision="bfloat16")
    rows = []
    for stage in ("steps", "peers", "compiled"):
        for row in results.of(stage, "ms"):
            if "tokens_per_s" not in row:
                continue
            busy = results.first(stage, f"profile of {row['name']}", "busy_us")
            name = row["name"] if stage != "steps" else f"minibert {row['name']}"
            rows.append(
                [
                    *(name, row["ms"], row["tokens_per_s"], row["tflops"], share(row["tflops"], product)),
                    *(share(row["tflops"], DATA_SHEET), row.get("host_ms"), busy and busy / 1e3, row.get("peak_gb")),
                    row["visit"],
                ]
            )
    head = ["model, sequences x length", "ms", "tokens/s", "TFLOP/s", "of the product", "of 989", "host, ms"]
    note = [
        "Twenty steps each, in a process of their own: forward, backward, clipping, AdamW. TFLOP/s count the matrix",
        "products that a step needs, as a share of a large product measured in the same visit, and of the data sheet's",
        "989. host: to launch a step, without waiting. busy: time in which a kernel ran, in a profiled step.",
        "",
    ]
    return note + table([*head, "busy, ms", "peak, GB", "visit"], rows) if rows else []


def top_kernels(results: Results) -> list[str]:
    lines = []
    for row in profiles(results):
        lines += [
            "",
            f"**{row['name'].removeprefix('profile of ')}** ({row['visit']}): {row['launches']:,} launches",
            "",
        ]
        total = sum(kernel["total_us"] for kernel in row["kernels"].values())
        cells = [
            [f"`{short(name)}`", k["calls"], k["median_us"], k["total_us"] / 1e3, share(k["total_us"], total)]
            for name, k in list(row["kernels"].items())[:TOP]
        ]
        lines += table(["kernel", "calls", "median, µs", "ms", "of the step"], cells)
    return lines[1:]


def profiles(results: Results) -> list[dict]:
    return [row for row in results.of("steps", "kernels") if row["name"].startswith("profile of base")]


def short(kernel: str) -> str:
    """A kernel's name without its parameters."""
    return kernel.removeprefix("void ").partition("(")[0][:70]


def on_paper(results: Results) -> list[str]:
    lines = []
    for row in profiles(results):
        lines += ["", f"**{row['name'].removeprefix('profile of ')}** ({row['visit']})", ""]
        head = ["kernel", "launches on paper", "launches", "ms at the limits", "ms", "reached", "expected"]
        lines += table(head, paper_rows(row))
    return lines[1:]


def ragged(results: Results) -> list[str]:
    rows = [[r["name"], r["us"], r["tflops"], r["visit"]] for r in results.of("ragged", "us")]
    return table(["", "µs", "TFLOP/s", "visit"], rows)


def pretraining(results: Results) -> list[str]:
    rows = [
        [r["name"], r["seconds"], r["tokens_per_s"], r["first_loss"], r["last_loss"], r["visit"]]
        for r in results.of("pretrain", "first_loss")
    ]
    lines = table(["", "seconds in all", "tokens/s", "first loss", "last loss", "visit"], rows)
    for row in results.of("default_run", "masked_accuracy"):
        lines += [
            "",
            f"The default run, whole: {row['seconds']:.0f} s, {row['tokens_per_s']:,.0f} tokens/s, "
            f"{row['masked_accuracy']:.1%} of the held-out masked tokens ({row['visit']}).",
        ]
    return lines


NSIGHT = {
    "µs": "gpu__time_duration.sum",
    "SM %": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "DRAM %": "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
    "L1 %": "l1tex__throughput.avg.pct_of_peak_sustained_active",
    "occupancy %": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "registers": "launch__registers_per_thread",
}


def nsight(results: Results) -> list[str]:
    """The table of the latest ncu.csv, if there is one."""
    paths = [folder / "ncu.csv" for folder in results.folders if (folder / "ncu.csv").exists()]
    if not paths:
        return []
    lines = paths[-1].read_text(encoding="utf-8", errors="replace").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    rows = []
    for row in list(csv.DictReader(io.StringIO("\n".join(lines[start:]))))[1:]:  # the first one holds the units
        values = {title: number_of(row.get(metric)) for title, metric in NSIGHT.items()}
        values["µs"] = values["µs"] and values["µs"] / 1e3
        stalls = {
            name.partition("issue_stalled_")[2].partition("_per_")[0]: number_of(value) or 0.0
            for name, value in row.items()
            if name and "issue_stalled_" in name and "not_issued" not in name
        }
        two = [name for name in sorted(stalls, key=stalls.get, reverse=True) if name != "selected"][:2]
        rows.append([f"`{short(row['Kernel Name'])}`", *values.values(), ", ".join(two)])
    note = f"Visit {paths[-1].parent.name}; attention at T = 128, then 512; N = 32,768, H = 768, F = 3,072."
    return [note, "", *table(["kernel", *NSIGHT, "largest stalls"], rows)] if rows else []


def number_of(text: str | None) -> float | None:
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return None
