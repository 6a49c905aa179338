import pytest

from minibert.models import PRESETS
from minibert.training import pretrain

from .tiny import PRESET, tiny_config, write_corpus


@pytest.fixture(autouse=True)
def thin_model(monkeypatch):
    """The size "tiny" is one layer, 16 wide, in these tests."""
    monkeypatch.setitem(PRESETS, "tiny", PRESET)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "stories.txt")


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory, corpus):
    """The folder of a run that was never interrupted; no test may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        run = tmp_path_factory.mktemp("whole") / "run"
        assert pretrain(tiny_config(corpus, run)) == 0
    return run
