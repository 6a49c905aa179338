"""Is it correct on this GPU: compilation, each op against float64, training against the reference, the sanitizer."""

import glob
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import packages_distributions, version
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from minibert.base.processes import safe_path
from visit.inputs import GROUPS, OnDevice, calls
from visit.record import Record
from visit.sizes import Sizes

# bounds on ||ours - exact|| / ||exact||, where exact is float64 on the same device from the same rounded inputs
BOUNDS = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.5e-2}


def machine(record: Record, sizes: Sizes) -> None:
    """Driver, versions, where CUDA's headers are, what CuPy found."""
    record.row("python", version=sys.version.split()[0], platform=sys.platform, cores=os.cpu_count())
    for name in ("numpy", "numba", "cupy", "torch", "transformers", "ml_dtypes", "pytest", "matplotlib", "triton"):
        if importlib.util.find_spec(name):
            packages = packages_distributions().get(name, [name])
            record.row("package", package=packages[0], version=version(packages[0]))
    nvidia = importlib.util.find_spec("nvidia")
    patterns = [f"{folder}/*/include" for folder in (nvidia.submodule_search_locations if nvidia else ())]
    patterns += ["/usr/local/cuda*/include", "/usr/local/cuda*/targets/*/include"]
    for header in ("mma.h", "crt/mma.h", "cuda_fp16.h"):
        found = sorted(path for pattern in patterns for path in glob.glob(f"{pattern}/{header}"))
        record.row("header", header=header, found=found)
    for tool in ("nvcc", "ncu", "compute-sanitizer", "nsys", "cuobjdump", "nvidia-smi"):
        record.row("tool", tool=tool, path=shutil.which(tool))
    if shutil.which("nvidia-smi"):
        query = "name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,power.limit,ecc.mode.current"
        got = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv"], capture_output=True, text=True)
        record.row("nvidia-smi", said=got.stdout.strip())
    backend = load()
    from minibert.commands.selftest_checks import device_line
    from minibert.ops.gpu import library
    from minibert.ops.gpu.kernels import header_folders

    folders = [] if library.emulated else header_folders(library.cp.cuda.nvrtc.getVersion()[0])
    record.row("headers for mma.h", folders=[str(folder) for folder in folders])
    record.row("device", line="emulated" if library.emulated else device_line(backend.xp))
    if not library.emulated:
        text = io.StringIO()
        with redirect_stdout(text):
            library.cp.show_config()
        record.row("cupy", configuration=text.getvalue())


def load():
    from minibert.ops import load_backend

    return load_backend("gpu")


def compile_one(index: int, dtype_name: str) -> tuple[str, float]:
    """Compile one file of kernels for a dtype, in this process."""
    from minibert.nn.parameters import as_dtype
    from minibert.ops.gpu.nvrtc import cuda_files

    file = cuda_files()[index]
    began = time.perf_counter()
    dtype = as_dtype(dtype_name)
    for name in file.names:
        file.kernel(name, dtype)
    return file.file, time.perf_counter() - began


def compiles(record: Record, sizes: Sizes) -> None:
    """Every file in bfloat16, float32 and more, in several processes; CuPy caches the result for later stages."""
    load()
    from minibert.nn.parameters import as_dtype
    from minibert.ops.gpu import library
    from minibert.ops.gpu.nvrtc import cuda_files

    capability = int(library.cp.cuda.Device().compute_capability)
    files = cuda_files()
    tasks = [
        (index, dtype)
        for dtype in ("bfloat16", "float32", "float64", "float16")
        for index, file in enumerate(files)
        if file.takes(as_dtype(dtype), capability) and (dtype == "float32" or not sizes.rehearsal)
    ]
    began, failed = time.perf_counter(), 0
    with safe_path(), ProcessPoolExecutor(sizes.processes, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(compile_one, *task): task for task in tasks}
        for done in as_completed(running):
            index, dtype = running[done]
            label = f"{files[index].names[0].partition('<')[0]} … in {dtype}"
            try:
                file, seconds = done.result()
                record.row("compiled", file=file, kernels=label, seconds=seconds)
            except Exception as error:
                failed += 1
                record.row("compiled", file=files[index].file, kernels=label, error=str(error)[-1500:])
    record.row("compilation", files=len(tasks), failed=failed, seconds=time.perf_counter() - began)
    if failed:
        raise SystemExit(f"{failed} of {len(tasks)} modules do not compile")


@contextmanager
def poisoned(xp):
    """New arrays are full of NaN: elements that no kernel writes will show."""
    from minibert.ops.gpu import library

    module = library.cp
    honest = module.empty

    def empty(shape, dtype=float, **options):
        array = honest(shape, dtype, **options)
        if array.size and array.dtype.kind not in "iu":
            if hasattr(array.data, "memset_async"):
                array.data.memset_async(255, array.nbytes)  # a NaN in each dtype of floating-point numbers
            else:
                array[...] = np.nan
        return array

    module.empty = empty
    try:
        yield
    finally:
        module.empty = honest


def not_waiting(xp):
    """A block inside which waiting for the device is an error."""
    if hasattr(xp, "no_synchronisation"):
        return xp.no_synchronisation()
    import cupyx

    return cupyx.allow_synchronize(False)


def ops(record: Record, sizes: Sizes) -> None:
    """Each op at real size, a process for each group of ops: one bad access affects only the checks of its group."""
    command = [sys.executable, sys.argv[0], "--stage"]
    running = {}
    for group in GROUPS:
        with open(record.path.parent / f"ops-{group}.log", "w") as log:
            running[group] = subprocess.Popen(
                [*command, f"ops:{group}", *sys.argv[3:]], stdout=log, stderr=subprocess.STDOUT
            )
    failed = []
    for group, process in running.items():
        if process.wait():
            failed.append(group)
            lines = (record.path.parent / f"ops-{group}.log").read_text(errors="replace").splitlines()
            record.row("group failed", group=group, exit=process.returncode, last_lines=lines[-8:])
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def ops_of_group(group: str, record: Record, sizes: Sizes) -> None:
    """bfloat16, float16 and float32 against float64, outputs filled with NaN first, twice with the same bits."""
    backend = load()
    from minibert.nn.parameters import as_dtype
    from minibert.ops.devices import why_not_in

    wrong = 0
    precisions = [p for p in BOUNDS if why_not_in(backend, p) is None]
    if group == "optimizer":
        wrong += optimizer(backend, record, sizes)
    for call in calls(group, sizes):
        for precision in precisions:
            dtype = as_dtype(precision)
            errors, quiet, same = compare(backend, call, dtype)
            passed = all(error <= BOUNDS[precision] for error in errors.values()) and same  # NaN fails
            wrong += not passed
            record.row(
                call.label,
                precision=precision,
                passed=passed,
                bound=BOUNDS[precision],
                same_bits=same,
                waited=quiet,
                **errors,
            )
    if wrong:
        raise SystemExit(f"{wrong} checks failed")


def compare(backend, call, dtype) -> tuple[dict[str, float], str | None, bool]:
    """Relative errors by name, what waited for the device (None if nothing did), whether two runs agree in each bit."""
    xp, waited = backend.xp, None
    ours = OnDevice(backend, call, dtype)
    y, _ = ours.forward()  # compiles, and makes room
    ours.upstream(y)
    results = []
    for _ in range(2):
        with poisoned(xp):
            try:
                with not_waiting(xp):
                    y, cache = ours.forward()
                    gradients = ours.backward(ours.d_y, cache)
            except RuntimeError as error:
                if "ynchron" not in str(error):
                    raise
                waited = str(error).splitlines()[0][:200]
                y, cache = ours.forward()
                gradients = ours.backward(ours.d_y, cache)
        results.append([y, *gradients])
    same = all(same_bits(xp, one, other) for one, other in zip(*results, strict=True))
    truth = OnDevice(backend, call, dtype, exact=True)
    y, cache = truth.forward()
    gradients = truth.backward(widened(ours.d_y) if hasattr(ours.d_y, "dtype") else ours.d_y, cache)
    names = ["y", *ours.names][: 1 + len(gradients)]
    errors = {
        name: distance(xp, got, expected)
        for name, got, expected in zip(names, results[0], [y, *gradients], strict=True)
    }
    return errors, waited, same


def widened(array):
    """The same numbers in float64."""
    return array.astype(np.float32).astype(np.float64)


def same_bits(xp, one, other) -> bool:
    if not hasattr(one, "view"):  # on the emulator
        return one.get().tobytes() == other.get().tobytes()
    a, b = (xp.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (one, other))
    return bool((a == b).all())


def distance(xp, ours, expected) -> float:
    """||ours - expected|| / ||expected||."""
    ours, expected = (
        array.astype(np.float32).astype(np.float64) if array.dtype != np.float64 else array
        for array in (ours, expected)
    )
    difference = ours - expected
    norm = float(xp.sum(expected * expected)) ** 0.5
    return float(xp.sum(difference * difference)) ** 0.5 / norm if norm else float(xp.sum(difference * difference))


def optimizer(backend, record: Record, sizes: Sizes) -> int:
    """AdamW on float32 masters with a bfloat16 copy, and the norm, against float64."""
    from minibert.nn.parameters import as_dtype
    from minibert.ops import AdamWStep
    from visit.inputs import Numbers

    xp, numbers, count = backend.xp, Numbers(), sizes.parameters
    step = AdamWStep(1e-3, 0.9, 0.98, eps=1e-6, weight_decay=0.01, correction1=0.1, correction2=0.02, max_norm=1.0)
    state = {}
    for dtype in (np.float32, np.float64):
        arrays = [backend.array(numbers_of) for numbers_of in (numbers(count), numbers(count), 0.1 * numbers(count))]
        arrays = [array.astype(dtype) for array in (*arrays, arrays[2] * arrays[2])]
        numbers.start = 0
        decayed = backend.array((np.arange(count) % 3 > 0).astype(np.uint8)).astype(bool)
        norm = backend.global_norm(arrays[1])
        copy = xp.empty(count, as_dtype("bfloat16")) if dtype == np.float32 else None
        backend.adamw(*arrays, decayed, step, norm, copy=copy)
        state[dtype] = [norm, arrays[0], arrays[2], arrays[3]] + ([copy] if copy is not None else [])
    wrong = 0
    names = ("norm", "values", "first_moment", "second_moment")
    for name, ours, exact in zip(names, state[np.float32], state[np.float64], strict=False):
        error = distance(xp, ours, exact)
        wrong += not error <= 1e-5
        record.row(f"adamw, {name}", precision="float32", error=error, bound=1e-5, passed=error <= 1e-5)
    error = distance(xp, state[np.float32][4], state[np.float64][1])
    wrong += not error <= 5e-3
    record.row("adamw, 16-bit copy", precision="bfloat16", error=error, bound=5e-3, passed=error <= 5e-3)
    return wrong


def training(record: Record, sizes: Sizes) -> None:
    """A short training against the reference, and twice with the same bits, in four precisions."""
    from minibert.checks.short_training import agreement, training_losses
    from minibert.ops.devices import why_not_in

    backend, wrong = load(), 0
    for precision in ("float64", "float32", "bfloat16", "float16"):
        if why_not_in(backend, precision):
            continue
        difference, bound = agreement(backend, precision, sizes.training_steps)
        one, other = (training_losses(backend, precision, 3) for _ in range(2))
        same = bool((one == other).all())
        wrong += not (difference <= bound and same)
        record.row(
            "training", precision=precision, steps=sizes.training_steps, difference=difference, bound=bound,
            same_bits=same, passed=bool(difference <= bound and same),
        )  # fmt: skip
    if wrong:
        raise SystemExit(f"{wrong} trainings failed")


def gradients(record: Record, sizes: Sizes) -> None:
    """Every element of every gradient of every op, layer and model against finite differences, in float64."""
    from minibert.checks import CASES
    from minibert.commands.selftest_checks import gradients as check
    from minibert.ops.table import PAIRS

    backend, wrong = load(), 0
    for name in PAIRS[:3] if sizes.rehearsal else CASES:
        began = time.perf_counter()
        passed, seen = check(backend, name)
        wrong += not passed
        record.row(f"gradients: {name}", passed=passed, seen=seen, seconds=time.perf_counter() - began)
    if wrong:
        raise SystemExit(f"{wrong} gradient checks failed")


def one_step(record: Record, sizes: Sizes) -> None:
    """One tiny bfloat16 step, for compute-sanitizer to look at."""
    from minibert.checks.short_training import training_losses

    losses = training_losses(load(), "bfloat16", 1)
    assert np.isfinite(losses).all(), losses


def sanitizer(record: Record, sizes: Sizes) -> None:
    """compute-sanitizer, memcheck then racecheck, on one tiny bfloat16 step."""
    tool, wrong = shutil.which("compute-sanitizer"), 0
    if tool is None:
        record.row("compute-sanitizer", skipped="not installed")
        return
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", "--print-limit", "20"]
        command += [sys.executable, sys.argv[0], "--stage", "one_step", *sys.argv[3:]]
        began = time.perf_counter()
        got = subprocess.run(command, capture_output=True, text=True, errors="replace")
        lines = [line for line in got.stdout.splitlines() if line.startswith("=====")]
        wrong += got.returncode != 0
        record.row(
            check, exit=got.returncode, seconds=time.perf_counter() - began, passed=got.returncode == 0,
            said=lines[:60] if got.returncode else lines[-2:],
        )  # fmt: skip
        if got.returncode and not lines:
            print(got.stdout[-3000:], got.stderr[-3000:])
    if wrong:
        raise SystemExit("compute-sanitizer reported errors")


def tests(record: Record, sizes: Sizes) -> None:
    """pytest -m "gpu and not slow" on the device."""
    root = Path(__file__).parents[2]
    where = ["tests/ops", "tests/checks", "tests/training/test_gpu.py", "tests/models"]
    workers = ["-n", "8"] if importlib.util.find_spec("xdist") else []
    if sizes.rehearsal:
        where, workers = ["tests/ops/test_devices.py"], []
    options = ["-q", "-m", "gpu and not slow", "-p", "no:cacheprovider", "--tb=short"]
    command = [sys.executable, "-P", "-m", "pytest", *options, *workers, *where]
    log = record.path.parent / "pytest.log"
    with open(log, "w") as file:
        code = subprocess.run(command, cwd=root, stdout=file, stderr=subprocess.STDOUT).returncode
    lines = log.read_text(errors="replace").splitlines()
    record.row("pytest", exit=code, passed=code in (0, 5), said=lines[-1:] if code == 0 else lines[-40:])
    if code not in (0, 5):
        raise SystemExit("tests failed")


def few_kernels(record: Record, sizes: Sizes) -> None:
    """Attention, layer norm, bias and GELU in bfloat16, once each, for Nsight Compute to look at."""
    from minibert.nn.parameters import as_dtype
    from visit.inputs import calls

    backend = load()
    wanted = ("attention, T = 128", "attention, T = 512", "add_layernorm, dropout", "linear, H to F", "gelu")
    for group in ("attention", "norms", "linear", "elementwise"):
        for call in calls(group, sizes):
            if call.label in wanted:
                one = OnDevice(backend, call, as_dtype("bfloat16"))
                y, cache = one.forward()
                one.backward(one.upstream(y), cache)


def ncu(record: Record, sizes: Sizes) -> None:
    """Nsight Compute: what limits the kernels."""
    tool = shutil.which("ncu")
    if tool is None:
        record.row("ncu", skipped="not installed")
        return
    kernels = "regex:attention|layernorm|add_bias|gelu|column_sums"
    sections = [w for s in ("SpeedOfLight", "Occupancy", "LaunchStats", "WarpStateStats") for w in ("--section", s)]
    command = [tool, "--clock-control", "none", "--csv", "--page", "raw", "-k", kernels, *sections]
    command += [sys.executable, sys.argv[0], "--stage", "few_kernels", *sys.argv[3:]]
    got = subprocess.run(command, capture_output=True, text=True, errors="replace")
    (record.path.parent / "ncu.csv").write_text(got.stdout)
    record.row("ncu", exit=got.returncode, passed=got.returncode == 0, said=got.stdout.splitlines()[-3:])
    if got.returncode:
        raise SystemExit(got.stderr[-2000:])
