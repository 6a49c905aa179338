"""What a command reports about rows that were passed over."""

from collections import Counter


def skipped(passed_over: Counter) -> str:
    """The counts as a text.

    >>> skipped(Counter({"lines of broken rows": 2, "comments": 1000}))
    '1,002 rows (lines of broken rows: 2; comments: 1,000)'
    """
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in sorted(passed_over.items()))
    total = sum(passed_over.values())
    return f"{total:,} {'row' if total == 1 else 'rows'} ({reasons})"
