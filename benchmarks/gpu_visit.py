"""Everything that minibert wants to know about a GPU, in one command: is it correct there, and how fast is it.

    python benchmarks/gpu_visit.py --out visit                        # seven minutes
    python benchmarks/gpu_visit.py --out visit --second               # what the first part leaves out
    python benchmarks/gpu_visit.py --report visit                     # the tables again, without a GPU
    python benchmarks/gpu_visit.py --out visit --emulate              # a rehearsal at tiny sizes, without a GPU

It runs stages in order, each in its own process with a time limit.  They append to visit/results.jsonl and
visit/log.txt, so a stage that fails or hangs does not affect the others; the report names what was not measured.  It
needs NumPy, Numba, CuPy and a GPU; the comparisons also need PyTorch and transformers.  See docs/gpu.md.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # a bare checkout is enough

from visit.record import RESULTS, Record  # noqa: E402
from visit.report import report  # noqa: E402
from visit.runner import Stage, run_stage  # noqa: E402
from visit.sizes import REAL, TINY  # noqa: E402

WORKLOADS = [f"base:{sequences}:{length}" for sequences, length in REAL.workloads]
PEERS = tuple(f"peer:{workload}:{kind}" for workload in WORKLOADS for kind in ("autocast", "bfloat16"))
COMPILED = (
    *(f"peer:{workload}:autocast:default" for workload in WORKLOADS),
    *(f"peer:{size}:32:128:autocast:{mode}" for size in REAL.small_models for mode in ("eager", "reduce-overhead")),
)
STAGES = (
    Stage("machine", "driver, versions, headers", 20),
    Stage("compile", "all kernels, in 16 processes", 60),
    Stage("ops", "each op at real size beside float64", 60),
    Stage("training", "training beside the reference, same bits twice", 40),
    Stage("sanitizer", "compute-sanitizer on one step", 60),
    Stage("ceilings", "copies and products", 40),
    Stage("kernels", "each op's kernels", 60),
    Stage("steps", "whole steps", 90),
    Stage("pretrain", "a real pre-training of 100 steps", 60),
    Stage("peers", "PyTorch's steps", 110, PEERS),
    Stage("ncu", "Nsight Compute on some kernels", 60),
    Stage("compiled", "PyTorch's steps under torch.compile", 180, COMPILED),
    Stage("tests", 'pytest -m "gpu and not slow"', 120),
)
SECOND = (
    Stage("gradients", "finite differences, every element", 90),
    Stage("ragged", "ragged attention beside varlen flash attention", 40),
    Stage("default_run", "the default run, whole", 300),
)
LEAST, ALL = 60, 400  # seconds: for the first stages; for all of them
LEFT_OUT = 3  # the number of last stages to skip if there is not enough time for all


def main() -> int:
    options = arguments()
    names = [stage.name for stage in STAGES + SECOND]
    if options.report:
        for folder in options.report:
            if not (folder / RESULTS).is_file():
                return refuse(f"{folder}: no {RESULTS} there")
        print(report(options.report, names), end="")
        return 0
    if options.emulate:
        os.environ["MINIBERT_EMULATE"] = "1"
    if options.stage:
        return run_here(options)
    try:
        stages = chosen(options, names)
        make_folder(options.out)
        if reason := why_not():
            raise ValueError(f"there is nothing to visit: {reason}")
    except (ValueError, OSError) as error:
        return refuse(error)
    failed = visit(stages, options)
    text = report([options.out], names)
    (options.out / "report.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nwritten to {options.out}/report.md")
    return 1 if failed else 0


def refuse(problem) -> int:
    print(f"benchmarks/gpu_visit.py: {problem}", file=sys.stderr)
    return 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("visit"), help="the folder of the results (default: visit)")
    parser.add_argument("--seconds", type=float, default=440, help="that all stages may take together (default: 440)")
    parser.add_argument("--only", nargs="*", default=[], metavar="STAGE", help="these stages")
    parser.add_argument("--skip", nargs="*", default=[], metavar="STAGE", help="all stages but these")
    parser.add_argument("--second", action="store_true", help="what the first part leaves out")
    parser.add_argument("--emulate", action="store_true", help="a rehearsal: tiny sizes, on the emulator")
    parser.add_argument("--report", nargs="+", type=Path, metavar="DIR", help="print the tables of what was measured")
    parser.add_argument("--stage", help=argparse.SUPPRESS)  # run this one in this process
    return parser.parse_args()


def chosen(options, names: list[str]) -> list[Stage]:
    """The stages to run.  Raises ValueError for unknown names, and for too little time."""
    for name in (*options.only, *options.skip):
        if name not in names:
            raise ValueError(f"there is no stage {name!r}; choose from {', '.join(names)}")
    stages = STAGES + SECOND if options.only else SECOND if options.second else STAGES
    stages = [s for s in stages if (not options.only or s.name in options.only) and s.name not in options.skip]
    if not options.only and not options.seconds >= LEAST:
        raise ValueError(f"--seconds {options.seconds:g} is too little for the first stages; they need {LEAST}")
    if not options.seconds > 0:
        raise ValueError(f"--seconds {options.seconds:g}: expected more than 0")
    if options.seconds < ALL and not (options.only or options.skip or options.second):
        print(f"left out, for lack of time: {', '.join(stage.name for stage in stages[-LEFT_OUT:])}")
        stages = stages[:-LEFT_OUT]
    return stages


def make_folder(folder: Path) -> None:
    """Create the folder.  Raises OSError if nothing can be written there."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".writable"
    probe.write_text("")
    probe.unlink()


def why_not() -> str | None:
    """None if there is a GPU to visit, otherwise the reason, in one line; this process does not touch the GPU."""
    from minibert.ops.devices import emulating, gpu_status

    if (reason := gpu_status()) or emulating():
        return reason
    code = (
        "import cupy; r = cupy.cuda.runtime; cupy.cuda.Device().compute_capability; "
        "print(r.driverGetVersion(), cupy.cuda.nvrtc.getVersion()[0])"
    )
    asked = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    if asked.returncode:
        return f"CuPy does not work here: {(asked.stderr.strip().splitlines() or ['no message'])[-1]}"
    return too_old(*map(int, asked.stdout.split()))


def too_old(driver: int, compiler: int) -> str | None:
    """driver: 13000 for one that supports CUDA 13.0; compiler: the major version of CUDA that CuPy is for."""
    if driver // 1000 >= compiler:
        return None
    have = f"{driver // 1000}.{driver % 1000 // 10}"
    cure = f"install a newer driver, or cupy-cuda{driver // 1000}x"
    return f"the driver supports CUDA {have} and CuPy is for CUDA {compiler}: {cure}"


def visit(stages: list[Stage], options) -> int:
    """Run the stages; returns how many did not pass."""
    words = ["--out", str(options.out)] + ["--emulate"] * options.emulate
    record = Record(options.out, "visit", echo=False)
    record.row("started", at=time.strftime("%Y-%m-%d %H:%M"), emulated=options.emulate, seconds=options.seconds)
    end, failed = time.monotonic() + options.seconds, 0
    for stage in stages:
        print(f"{stage.name:14}{stage.what:52}", end="", flush=True)
        began = time.monotonic()
        outcome = run_stage(stage, options.out, min(end - began, stage.seconds), words)
        print(f"{outcome:12}{time.monotonic() - began:6.1f} s", flush=True)
        failed += outcome != "passed"
    return failed


def run_here(options) -> int:
    """Run one stage in this process."""
    from visit import check, measure, peers

    sizes = TINY if options.emulate else REAL
    name, *rest = options.stage.split(":")
    if name == "peer":
        size, sequences, length, kind, *mode = rest
        record = Record(options.out, "compiled" if mode else "peers")
        if options.emulate:
            size, sequences, length = "tiny", 2, 16
        peers.run(record, sizes, size, int(sequences), int(length), kind, *mode)
        return 0
    functions = {
        "machine": check.machine, "compile": check.compiles, "ops": check.ops, "training": check.training,
        "one_step": check.one_step, "sanitizer": check.sanitizer, "tests": check.tests, "ncu": check.ncu,
        "few_kernels": check.few_kernels, "gradients": check.gradients, "ceilings": measure.ceilings,
        "kernels": measure.kernels, "steps": measure.steps, "pretrain": measure.pretraining,
        "ragged": measure.ragged, "default_run": measure.default_run,
    }  # fmt: skip
    record = Record(options.out, name)
    if name == "ops" and rest:
        check.ops_of_group(rest[0], record, sizes)
    else:
        functions[name](record, sizes)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # not sys.exit: with CuPy, PyTorch and its profiler in one process, shutdown has been seen to crash
    os._exit(code)
