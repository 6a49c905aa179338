"""The rooms, and a seeded random sample of the mutants of each."""

import hashlib
from pathlib import Path

from .operators import Mutant, mutants_of

ROOMS = ("text", "data", "nn", "models", "training", "tasks", "ops/reference")
GENERATED = ("minibert/text/unicode_tables.py",)  # written by a script, from what another library does


def mutants_of_room(tree: Path, room: str) -> list[Mutant]:
    files = [str(path.relative_to(tree)) for path in sorted((tree / "minibert" / room).rglob("*.py"))]
    return [
        mutant
        for file in files
        if file not in GENERATED
        for mutant in mutants_of((tree / file).read_text(encoding="utf-8"), file)
    ]


def sample(mutants: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """`size` mutants, each equally likely; after an edit, those whose code is as it was are chosen as before."""

    def draw(mutant: Mutant) -> str:
        return hashlib.sha256(f"{seed} {mutant.id}".encode()).hexdigest()

    return sorted(mutants, key=draw)[:size]
