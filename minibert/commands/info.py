"""`minibert info`: show versions, cores, threads, BLAS, backends and optional packages (see minibert/ops/facts.py)."""

import json
from dataclasses import dataclass

from minibert.ops.facts import EXTRAS, collect


@dataclass(frozen=True)
class InfoConfig:
    """Show versions, cores and threads, the BLAS library, backends and optional packages."""

    json: bool = False
    """Print a JSON object instead of a table."""


def info(config: InfoConfig) -> None:
    """Print the facts that `collect` gathers, as a table or as JSON."""
    facts = collect()
    print(json.dumps(facts, indent=2) if config.json else as_text(facts))


def as_text(facts: dict[str, dict]) -> str:
    """The facts as plain text with aligned columns."""
    extra_of = {package: extra for extra, packages in EXTRAS.items() for package in packages}
    width = max(len(name) for section in facts.values() for name in section)
    lines = []
    for title, section in facts.items():
        lines += ["", title]
        for name, value in section.items():
            if title == "backends":
                value = "available" if value is None else f"not available: {value}"
            elif title == "optional packages" and value is None:
                value = f'not installed: pip install -e ".[{extra_of[name]}]"'
            elif value is None:
                value = "not known"
            lines.append(f"  {name:{width}}  {value}")
    return "\n".join(lines[1:])
