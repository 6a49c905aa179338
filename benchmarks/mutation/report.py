"""The report: a table of rooms, and every survivor."""

from .sample import ROOMS

FOUND = ("caught", "timeout")


def counts(records: list[dict]) -> dict[str, int]:
    """Of the mutants of one room: how many were sampled, tried, found, found by the daily suite, and not found."""
    tried = [one for one in records if one["status"] != "pending"]
    found = [one for one in tried if one["status"] in FOUND]
    return dict(
        sampled=len(records),
        tried=len(tried),
        found=len(found),
        daily=sum(one["daily"] for one in found),
        timeouts=sum(one["status"] == "timeout" for one in found),
        survivors=len(tried) - len(found),
        met_suite=sum(bool(one.get("suite")) for one in tried if one["status"] not in FOUND),
    )


def table(records: list[dict], seed: int) -> list[str]:
    """The rooms of one seed as a Markdown table."""
    lines = [
        "| room | sampled | tried | caught | by the daily suite | by a timeout | survivors (met the suite) |",
        "|---|---|---|---|---|---|---|",
    ]
    mine = [one for one in records if one["seed"] == seed]
    rows = [(room, [one for one in mine if one["room"] == room]) for room in ROOMS]
    for room, of_room in [*rows, ("all", mine)]:
        if not of_room:
            continue
        row = counts(of_room)
        tried = row["tried"] or 1
        caught, daily = (f"{row[name]} ({100 * row[name] / tried:.0f}%)" for name in ("found", "daily"))
        survivors = f"{row['survivors']} ({row['met_suite']})"
        lines.append(
            f"| `{room}` | {row['sampled']} | {row['tried']} | {caught} | {daily} | {row['timeouts']} | {survivors} |"
        )
    return lines


def survivors(records: list[dict], seed: int) -> list[str]:
    """Every mutant that no test noticed, as a Markdown list."""
    return [
        f"- `{one['id']}` {one['file']}:{one['line']} ({one['operator']}, {one['status']}): "
        f"`{_inline(one['original'])}` → `{_inline(one['mutated'])}`"
        for one in records
        if one["seed"] == seed and one["status"] not in (*FOUND, "pending")
    ]


def _inline(text: str) -> str:
    short = " ".join(text.split()).replace("`", "'")
    return short if len(short) <= 100 else short[:99] + "…"


def report(records: list[dict]) -> str:
    lines = [
        "# Mutants",
        "",
        "Written by `python -m benchmarks.mutation --report`; docs/reliability.md explains it.",
        "",
    ]
    for seed in sorted({one["seed"] for one in records}):
        lines += [f"## Seed {seed}", "", *table(records, seed), ""]
        if left := survivors(records, seed):
            lines += ["Not noticed:", "", *left, ""]
    return "\n".join(lines)
