import pytest

from minibert.models import PRESETS

from .tiny import PRESET, write_corpus


@pytest.fixture(autouse=True)
def thin_model(monkeypatch):
    """The size "tiny" is one layer, 16 wide, in these tests."""
    monkeypatch.setitem(PRESETS, "tiny", PRESET)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "stories.txt")
