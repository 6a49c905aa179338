"""The BLAS that NumPy brings: found, asked, and what is said where there is none."""

import ctypes
import ctypes.util

import numpy as np
import pytest

from minibert import cli
from minibert.ops import backend_status
from minibert.ops.blas import GET_THREADS, NAMES, Blas, candidates, find_blas


def test_the_library_found_multiplies():
    """Called as C calls it: [[1, 2]] @ [[3], [4]]."""
    blas = find_blas()
    integer = ctypes.c_int64 if blas.bits == 64 else ctypes.c_int32
    a, b, c = np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.zeros((1, 1))
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (a, b, c)]
    one, two, number = integer(1), integer(2), ctypes.c_double
    blas.function("cblas_dgemm")(
        101, 111, 111, one, one, two, number(1), pointers[0], two, pointers[1], one, number(0), pointers[2], one
    )
    assert c[0, 0] == 11


def test_threads_are_told_and_set():
    blas = find_blas()
    if not blas.has(GET_THREADS):
        pytest.skip("this BLAS does not tell its threads")
    before = blas.threads()
    try:
        assert blas.threads(1) == 1 == find_blas().threads()
    finally:
        assert blas.threads(before) == before


def test_a_library_without_blas_is_refused():
    with pytest.raises(OSError, match="has no C interface to BLAS"):
        Blas(ctypes.util.find_library("c"))


def test_names_with_64_bits_come_before_the_plain_ones():
    """A library may have both under one roof; a plain name would match first and be called with the wrong integers."""
    bits = [bits for _, bits in NAMES]
    assert bits == sorted(bits, reverse=True)


def test_where_there_is_none_the_reason_is_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("MINIBERT_BLAS", "/nowhere/libblas.so")
    assert list(candidates()) == ["/nowhere/libblas.so"]
    reason = backend_status()["cpu"]
    assert "no BLAS with a C interface" in reason and "/nowhere/libblas.so" in reason
    assert cli.main(["gradcheck", "tanh"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("minibert: error: backend 'cpu' is not available: no BLAS") and err.count("\n") == 1
    assert "--backend reference" in err
    assert backend_status()["reference"] is None
