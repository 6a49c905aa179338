"""Run at the start of every Python process that a test starts: the mutant, or coverage, goes with it."""

import os
import sys

if os.environ.get("MINIBERT_MUTANT"):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import hook
    import operators

    del sys.path[0]
    path, _, number = os.environ["MINIBERT_MUTANT"].rpartition(":")
    hook.install(path, lambda source: operators.mutated_tree(source, int(number)))
if os.environ.get("COVERAGE_PROCESS_START"):
    import coverage

    coverage.process_startup()
