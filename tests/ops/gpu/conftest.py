"""On a machine without a GPU these tests run on the emulator; without a C++ compiler too, they are skipped."""

import pytest

from minibert.ops.devices import emulate_gpu, gpu_status

emulate_gpu(gpu_status() is not None)  # before the first import of minibert.ops.gpu


@pytest.fixture(autouse=True)
def somewhere_to_run():
    if reason := gpu_status():
        pytest.skip(reason)
