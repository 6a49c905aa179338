"""The results as tables."""

from visit.record import read_rows

SHOWN = {
    "ceilings": ("gb_per_s", "tflops", "us", "torch_us"),
    "kernels": ("us", "gb_per_s", "share_of_copy", "tflops", "share_of_product", "host_us"),
    "steps": ("ms", "host_ms", "tokens_per_s", "tflops", "share_of_product", "peak_gb", "loss"),
    "pretrain": ("tokens_per_s", "first_loss", "last_loss", "seconds"),
    "peers": ("ms", "tokens_per_s", "tflops", "peak_gb", "loss"),
    "compiled": ("ms", "tokens_per_s", "tflops", "peak_gb", "warm_up_s"),
}


def report(folder) -> str:
    """Markdown: the device, what failed, a table for each stage."""
    rows = read_rows(folder)
    lines = ["# A visit to a GPU", ""]
    lines += [row["line"] for row in rows if row["name"] == "device"][-1:]
    lines += ["", "| stage | outcome | seconds | last line |", "|---|---|--:|---|"]
    for row in rows:
        if row["name"] == "outcome":
            last = (row.get("last_lines") or [""])[-1][:150].replace("|", "/")
            lines.append(f"| {row['part']} | {row['outcome']} | {row.get('seconds', 0):.1f} | {last} |")
    wrong = [
        row
        for row in rows
        if row.get("passed") is False or row["name"] == "group failed" or "error" in row and "passed" not in row
    ]
    if wrong:
        lines += ["", "Failed:", ""]
        lines += [f"- {row['stage']}: {str({k: v for k, v in row.items() if k != 'stage'})[:600]}" for row in wrong]
    for stage, columns in SHOWN.items():
        chosen = [
            row
            for row in rows
            if row["stage"] == stage and row["name"] != "outcome" and any(column in row for column in columns)
        ]
        if not chosen:
            lines += ["", f"{stage}: not measured"]
            continue
        lines += ["", f"## {stage}", "", "| | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]
        for row in chosen:
            name = row["name"] + (f", {row['precision']}" if stage == "ceilings" and "precision" in row else "")
            lines.append(f"| {name} | " + " | ".join(number(row.get(column)) for column in columns) + " |")
    return "\n".join(lines) + "\n"


def number(value) -> str:
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
