"""Everything that minibert wants to know of a GPU, in one command: is it right there, and how fast.

    python benchmarks/gpu_visit.py --seconds 440 --out visit

Ordered stages, each in a process of its own with a time limit.  They append to visit/results.jsonl and visit/log.txt,
so nothing that fails or hangs costs what came before or after; the table at the end says what was not measured.  It
needs NumPy, Numba, CuPy and a GPU; what compares with PyTorch needs that, and transformers.  See docs/gpu.md.

    python benchmarks/gpu_visit.py --emulate --out visit     # a rehearsal at tiny sizes, without a GPU
"""

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # a bare checkout will do

from visit.runner import Stage, run_stage  # noqa: E402
from visit.sizes import REAL, TINY  # noqa: E402

PEERS = tuple(
    f"peer:base:{sequences}:{length}:{kind}"
    for sequences, length in REAL.workloads
    for kind in ("autocast", "bfloat16")
)
COMPILED = tuple(f"peer:base:{sequences}:{length}:autocast:default" for sequences, length in REAL.workloads) + tuple(
    f"peer:{size}:32:128:autocast:{mode}" for size in ("tiny", "mini") for mode in ("", "reduce-overhead")
)

STAGES = (
    Stage("machine", "driver, versions, headers", 20),
    Stage("compile", "all kernels, in 16 processes", 60),
    Stage("ops", "each op at real size beside float64", 60),
    Stage("training", "training beside the reference, same bits twice", 40),
    Stage("sanitizer", "compute-sanitizer on one step", 60),
    Stage("ceilings", "copies and products", 40),
    Stage("kernels", "each kernel", 60),
    Stage("steps", "whole steps", 60),
    Stage("pretrain", "a real pre-training of 100 steps", 60),
    Stage("peers", "PyTorch's steps", 90, PEERS),
    Stage("ncu", "Nsight Compute on some kernels", 60),
    Stage("compiled", "PyTorch's steps under torch.compile", 150, COMPILED),
    Stage("tests", 'pytest -m "gpu and not slow"', 120),
)
# what the first visit leaves out
SECOND = (
    Stage("gradients", "finite differences, every element", 60),
    Stage("ragged", "ragged attention beside varlen flash attention", 40),
    Stage("default_run", "the default run, whole", 240),
)


def main() -> int:
    options = arguments()
    if options.emulate:
        os.environ["MINIBERT_EMULATE"] = "1"
    if options.stage:
        return run_here(options)
    names = [stage.name for stage in STAGES + SECOND]
    try:
        for name in (*options.only, *options.skip):
            if name not in names:
                raise ValueError(f"there is no stage {name!r}; choose from {', '.join(names)}")
        make_folder(options.out)
        from minibert.ops.devices import gpu_status

        if reason := gpu_status():
            raise ValueError(f"there is nothing to visit: {reason}")
    except (ValueError, OSError) as error:
        print(f"benchmarks/gpu_visit.py: {error}", file=sys.stderr)
        return 2
    stages = STAGES + SECOND if options.only else SECOND if options.second else STAGES
    chosen = [s for s in stages if (not options.only or s.name in options.only) and s.name not in options.skip]
    words = ["--out", str(options.out)] + ["--emulate"] * options.emulate
    end = time.monotonic() + options.seconds
    failed = 0
    for stage in chosen:
        left = end - time.monotonic()
        limit = min(left, stage.seconds * options.patience)
        print(f"{stage.name:12}{stage.what:55}", end="", flush=True)
        began = time.monotonic()
        outcome = run_stage(stage, options.out, limit, words)
        print(f"{outcome:12}{time.monotonic() - began:6.1f} s", flush=True)
        failed += outcome != "passed"
    from visit.report import report

    text = report(options.out)
    (options.out / "report.md").write_text(text, encoding="utf-8")
    print(text)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=440, help="that all stages may take together (default: 440)")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results; what is there is kept")
    parser.add_argument("--only", nargs="*", default=[], metavar="STAGE", help="these stages")
    parser.add_argument("--skip", nargs="*", default=[], metavar="STAGE", help="all stages but these")
    parser.add_argument("--second", action="store_true", help="what the first visit leaves out")
    parser.add_argument("--emulate", action="store_true", help="a rehearsal: tiny sizes, on the emulator")
    parser.add_argument("--patience", type=float, default=1.0, help="multiplies each stage's time limit (default: 1)")
    parser.add_argument("--stage", help=argparse.SUPPRESS)  # run this one here
    return parser.parse_args()


def make_folder(folder: Path) -> None:
    """Raises OSError where nothing can be written."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".writable"
    probe.write_text("")
    probe.unlink()


def run_here(options) -> int:
    """One stage, in this process."""
    from visit import check
    from visit.record import Record

    sizes = TINY if options.emulate else REAL
    name, *rest = options.stage.split(":")
    if name == "peer":
        from visit.peers import run

        size, sequences, length, kind, *mode = rest
        record = Record(options.out, "compiled" if mode else "peers")
        if options.emulate:
            size, sequences, length = "tiny", 2, 16
        run(record, sizes, size, int(sequences), int(length), kind, *mode)
        return 0
    record = Record(options.out, name)
    if name == "ops" and rest:
        check.ops_of_group(rest[0], record, sizes)
        return 0
    functions = {
        "machine": check.machine, "compile": check.compiles, "ops": check.ops, "training": check.training,
        "one_step": check.one_step, "sanitizer": check.sanitizer, "tests": check.tests, "ncu": check.ncu,
        "few_kernels": check.few_kernels, "gradients": check.gradients,
    }  # fmt: skip
    if name not in functions:
        from visit import measure

        functions = {
            "ceilings": measure.ceilings, "kernels": measure.kernels, "steps": measure.steps,
            "pretrain": measure.pretraining, "ragged": measure.ragged, "default_run": measure.default_run,
        }  # fmt: skip
    functions[name](record, sizes)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # not sys.exit: with CuPy, PyTorch and its profiler in one process, what they do at the end of it can crash
    os._exit(code)
