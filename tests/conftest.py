"""What all tests share: no window, no network, and what takes long only where it is asked for."""

import contextlib
import importlib.util
import os
import resource

import pytest

from minibert.ops import BACKENDS, load_backend
from minibert.ops.backend import why_not
from minibert.ops.devices import EMULATE, gpu_status


def stay_on_one_core() -> None:
    """With pytest-xdist (`pytest -n 2`) each worker, and what it starts, has a core to itself.

    Two programs with two threads each on two cores would mostly wait for each other.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


stay_on_one_core()  # before anything counts cores
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")


ON_REQUEST = "thorough", "lessons", "mutations", "compile_matrix", "gpu"
WRITTEN = [name for name in BACKENDS if importlib.util.find_spec(f"minibert.ops.{name}")]
NO_GPU = pytest.StashKey()  # in config.stash: why `pytest -m gpu` skips its tests, or None


def pytest_configure(config):
    """The gpu backend of this process: the real one in `pytest -m gpu`, where there is a GPU; otherwise emulated."""
    if getattr(config.option, "dist", "no") != "no" and why_not("cpu") is None:
        load_backend("cpu")  # compiles on all cores what each worker would compile for itself
    real = "gpu" in config.option.markexpr
    config.stash[NO_GPU] = gpu_status() if real else None
    if config.stash[NO_GPU] or not real:
        os.environ[EMULATE] = "1"


def pytest_collection_modifyitems(config, items):
    """Leave out what takes long and has a command of its own, unless -m names it: `pytest -m mutations`."""
    for marker in ON_REQUEST:
        if marker in config.option.markexpr:
            continue
        left_out = [item for item in items if item.get_closest_marker(marker)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker(marker)]


def pytest_generate_tests(metafunc):
    """`backend` is every backend in turn, `other_backend` every one but the reference: one body of tests for all."""
    real = "gpu" in metafunc.config.option.markexpr
    for fixture, left_out in (("other_backend", "reference"), ("backend", None)):
        if fixture in metafunc.fixturenames:
            names = [name for name in WRITTEN if name != left_out]
            marks = {"gpu": pytest.mark.gpu} if real else {}
            parameters = [pytest.param(name, marks=marks.get(name, ()), id=name) for name in names]
            metafunc.parametrize(fixture, parameters, indirect=True)
            return


@pytest.fixture
def backend(request):
    """Every backend in turn.  Those that this machine lacks are skipped with the reason."""
    return backend_or_skip(request.param, request.config.stash[NO_GPU])


@pytest.fixture
def other_backend(request):
    """Every backend but the reference."""
    return backend_or_skip(request.param, request.config.stash[NO_GPU])


def backend_or_skip(name, no_gpu):
    reason = no_gpu if name == "gpu" and no_gpu else why_not(name)
    if reason:
        pytest.skip(f"backend {name}: {reason}")
    return load_backend(name)


@pytest.fixture
def gpu(request):
    """The gpu backend: emulated, or in `pytest -m gpu` the real one."""
    return backend_or_skip("gpu", request.config.stash[NO_GPU])


@pytest.fixture
def full_disk():
    """`with full_disk():` no file of this process can grow beyond a few hundred bytes: writes fail in the middle."""

    @contextlib.contextmanager
    def enter(scratch=500):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (scratch, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return enter
