"""The state of a run: a JSON file with one line for each mutant, rewritten after each verdict."""

import json
import os
from pathlib import Path

from .operators import Mutant

LONGEST = 200  # characters of a text in the file


class State:
    """records: (seed, id of a mutant) -> what is known of it.

    status: pending; caught (by a test that failed); timeout (a test took more than ten times as long as usual);
    survived; not covered (no test executes the line).  suite: whether the survivor has met the whole suite.
    """

    def __init__(self, path: Path):
        self.path = path
        self.records: dict[tuple[int, str], dict] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                self.records[record["seed"], record["id"]] = record

    def add(self, seed: int, room: str, mutants: list[Mutant], existing: set[str]) -> None:
        """Take up the sample of a room; mutants that the code no longer has (existing: their ids) are dropped."""
        for key, record in list(self.records.items()):
            if key[0] == seed and record["room"] == room and record["id"] not in existing:
                del self.records[key]
        for mutant in mutants:
            known = self.records.get((seed, mutant.id), dict(status="pending"))
            where = dict(
                seed=seed, room=room, id=mutant.id, file=mutant.file, line=mutant.line, scope=mutant.scope,
                operator=mutant.operator, original=mutant.original[:LONGEST], mutated=mutant.mutated[:LONGEST],
            )  # fmt: skip
            self.records[seed, mutant.id] = {**known, **where}

    def set(self, seed: int, mutant: Mutant, **values) -> None:
        known = self.records[seed, mutant.id]
        for name in ("by", "daily", "how", "ran", "suite"):
            known.pop(name, None)
        known.update(values)
        self.save()

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = sorted(
            self.records.values(), key=lambda one: (one["seed"], one["room"], one["file"], one["line"], one["id"])
        )
        new = self.path.with_suffix(".new")
        new.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        os.replace(new, self.path)
