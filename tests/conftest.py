"""What all tests share: no window, no network, and the notebooks only where they are asked for."""

import os

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
