"""Automatic mutation: change one thing in the code, run the tests that execute the line, and see whether one fails.

    python -m benchmarks.mutation --map                                  # which test executes which line, once
    python -m benchmarks.mutation --rooms all --sample 60 --seed 1 --minutes 30
    python -m benchmarks.mutation --report docs/reliability/mutation.md

Nothing here imports minibert: each mutant is tried in a forked process that imports the package afresh, from a copy of
the working tree, with an import hook that compiles one module from a changed syntax tree.  No file is changed.
docs/reliability.md describes the procedure and its limits.
"""
