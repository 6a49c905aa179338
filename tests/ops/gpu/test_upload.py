"""Uploads: what arrives is what was sent, and memory is used again only when its owner gave it back."""

import numpy as np
import pytest

from minibert.ops.gpu.library import cp
from minibert.ops.gpu.upload import STEP, Uploader


def arrays(*sizes, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(-9, 9, size).astype(np.int32) for size in sizes]


def test_arrays_arrive_in_their_order_and_shapes():
    sent = [*arrays(3, 0, 200), arrays(6)[0].reshape(2, 3), np.array(7, np.int32)]
    got = Uploader().upload(sent).arrays
    assert all(isinstance(array, cp.ndarray) for array in got)
    assert [array.shape for array in got] == [(3,), (0,), (200,), (2, 3), ()]
    assert all(np.array_equal(array.get(), host) for array, host in zip(got, sent, strict=True))


def test_each_array_begins_at_a_multiple_of_256_bytes():
    got = Uploader().upload(arrays(3, 65, 2)).arrays
    begins = [array.data.ptr - got[0].data.ptr for array in got]
    assert begins == [0, 4 * STEP, 4 * 3 * STEP]


def test_memory_that_was_not_given_back_is_left_alone():
    uploader = Uploader()
    first = uploader.upload(arrays(50, seed=1))
    uploader.upload(arrays(50, seed=2))
    assert np.array_equal(first.arrays[0].get(), arrays(50, seed=1)[0])


def test_memory_that_was_given_back_is_used_again_by_what_fits():
    uploader = Uploader()
    small, large = (uploader.upload(arrays(size)) for size in (50, 5000))
    positions = [upload.arrays[0].data.ptr for upload in (small, large)]
    large.release()
    small.release()
    again = uploader.upload(arrays(60)).arrays[0]
    assert again.data.ptr == positions[0]  # the smallest that is large enough
    assert uploader.upload(arrays(70)).arrays[0].data.ptr == positions[1]
    assert uploader.slots == []


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="int32 arrays, got int64"):
        Uploader().upload([np.arange(3)])
