"""The tests of this folder run on the emulator, and with `pytest -m gpu` on a real GPU (see tests/conftest.py).

They can also run on a kernel file with a planted bug: see mutants.py.
"""

import os
from pathlib import Path

import pytest

MUTANT = "MINIBERT_MUTANT"


def pytest_collection():
    """Plant the bug, before a test asks for a kernel; minibert.ops.gpu is imported only now, since it must be known
    whether it is to be emulated."""
    if MUTANT not in os.environ:
        return
    from minibert.ops.gpu.kernels import CudaFile
    from tests.ops.gpu.mutants import mutants_of

    file, line, number = os.environ[MUTANT].split(":")
    (mutant,) = (m for m in mutants_of(file) if (m.line, m.number) == (int(line), int(number)))
    honest = CudaFile.read

    def read(name: str) -> str:
        return mutant.plant(honest(name)) if name == mutant.file else honest(name)

    CudaFile.read = staticmethod(read)


def pytest_collection_modifyitems(config, items):
    """With `-m gpu` all tests here are tests of the GPU."""
    if "gpu" in config.option.markexpr:
        for item in items:
            if Path(__file__).parent in item.path.parents and not item.get_closest_marker("mutations"):
                item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def somewhere_to_run(gpu):
    """Without a C++ compiler, or in `-m gpu` without a GPU, there is nothing to run them on: they are skipped."""
