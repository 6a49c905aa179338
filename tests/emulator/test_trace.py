"""The list of what each thread read and wrote."""

import numpy as np
import pytest

from minibert import emulator
from minibert.emulator.trace import Access

pytestmark = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))

SOURCE = """
__global__ void pairs(const float* x, float* y, int* count) {
    __shared__ float scratch[4];
    extern __shared__ double more[];
    scratch[threadIdx.x] = x[blockIdx.x * 2 + threadIdx.x];
    more[threadIdx.x] = 0;
    __syncthreads();
    y[blockIdx.x * 2 + threadIdx.x] = scratch[1 - threadIdx.x];
    atomicAdd(count, 1);
}
__global__ void vectors(float4* x) { x[threadIdx.x] = make_float4(1, 2, 3, 4); }
__global__ void too_many(int* x) { for (int i = 0; i < 600000; i++) x[0] += 1; }
"""


def test_each_access_of_each_thread():
    x, y, total = np.arange(4, dtype=np.float32), np.zeros(4, np.float32), np.zeros(1, np.int32)
    accesses = emulator.Module(SOURCE).kernel("pairs").trace(2, 2, (x, y, total), shared=16)
    assert y.tolist() == [1, 0, 3, 2] and total[0] == 4  # it ran
    for block in range(2):
        for thread in range(2):
            own = [access for access in accesses if (access.block[0], access.thread[0]) == (block, thread)]
            at = dict(block=(block, 0, 0), thread=(thread, 0, 0))
            i = block * 2 + thread
            assert own == [
                Access(**at, space="global", action="read", array=0, element=i, line=5),
                Access(**at, space="shared", action="write", array="scratch", element=thread, line=5),
                Access(**at, space="shared", action="write", array="dynamic", element=thread, line=6),
                Access(**at, space="shared", action="read", array="scratch", element=1 - thread, line=8),
                Access(**at, space="global", action="write", array=1, element=i, line=8),
                Access(**at, space="global", action="write", array=2, element=0, line=9, atomic=True),
            ]


def test_the_order_is_that_of_the_threads():
    x, y, total = np.zeros(4, np.float32), np.zeros(4, np.float32), np.zeros(1, np.int32)
    with emulator.ordered("reverse"):
        accesses = emulator.Module(SOURCE).kernel("pairs").trace(2, 2, (x, y, total), shared=16)
    assert (accesses[0].block, accesses[0].thread) == ((1, 0, 0), (1, 0, 0))
    first_read_of_scratch = next(i for i, access in enumerate(accesses) if access.line == 8)
    assert first_read_of_scratch == 6  # after what both threads did before the barrier


def test_elements_of_vectors_come_one_by_one():
    x = np.zeros(8, np.float32)
    accesses = emulator.Module(SOURCE).kernel("vectors").trace(1, 2, (x,))
    assert [(access.thread[0], access.element) for access in accesses] == [(i // 4, i) for i in range(8)]


def test_views_count_from_their_own_beginning():
    x = np.zeros(16, np.float32)
    accesses = emulator.Module(SOURCE).kernel("vectors").trace(1, 1, (x[8:],))
    assert [access.element for access in accesses] == [0, 1, 2, 3]
    assert x.tolist() == [0] * 8 + [1, 2, 3, 4] + [0] * 4


def test_a_wrong_kernel_raises_its_error():
    with pytest.raises(emulator.OutOfBoundsError):
        emulator.Module(SOURCE).kernel("vectors").trace(1, 3, (np.zeros(8, np.float32),))


@pytest.mark.slow
def test_too_long_a_trace():
    with pytest.raises(emulator.LaunchError, match="smaller grid"):
        emulator.Module(SOURCE).kernel("too_many").trace(1, 1, (np.zeros(1, np.int32),))
