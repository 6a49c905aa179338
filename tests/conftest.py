"""What all tests share: no window, no network, and what takes long only where it is asked for."""

import contextlib
import importlib.util
import os
import resource

import pytest

from minibert.ops import BACKENDS, backend_status, load_backend

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")


ON_REQUEST = "lessons", "mutations"


def pytest_collection_modifyitems(config, items):
    """Leave out what takes long and has a command of its own, unless -m names it: `pytest -m mutations`."""
    for marker in ON_REQUEST:
        if marker in config.option.markexpr:
            continue
        left_out = [item for item in items if item.get_closest_marker(marker)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker(marker)]


WRITTEN = [name for name in BACKENDS if importlib.util.find_spec(f"minibert.ops.{name}")]


@pytest.fixture(params=WRITTEN)
def backend(request):
    """Every backend in turn: one body of tests for all.  Those that this machine lacks are skipped with the reason."""
    reason = backend_status()[request.param]
    if reason:
        pytest.skip(f"backend {request.param}: {reason}")
    return load_backend(request.param)


@pytest.fixture
def full_disk():
    """`with full_disk():` no file of this process can grow beyond a few hundred bytes: writes fail in the middle."""

    @contextlib.contextmanager
    def enter(room=500):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return enter
