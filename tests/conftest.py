"""What all tests share: no window, no network, and the notebooks only where they are asked for."""

import contextlib
import importlib.util
import os
import resource

import pytest

from minibert.ops import BACKENDS, backend_status, load_backend

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")


def pytest_collection_modifyitems(config, items):
    """Leave out the lessons, which take long, unless -m names them: `pytest -m lessons`."""
    if "lessons" in config.option.markexpr:
        return
    lessons = [item for item in items if item.get_closest_marker("lessons")]
    if lessons:
        config.hook.pytest_deselected(items=lessons)
        items[:] = [item for item in items if not item.get_closest_marker("lessons")]


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
