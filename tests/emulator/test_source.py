"""From CUDA to C++: headers, __shared__ declarations, kernels found; what is not understood is told with its line."""

import pytest

from minibert import emulator
from minibert.emulator.source import find_kernels, read_source, translate


def translated(text, names=()):
    return translate(read_source(text), list(names))


def test_lines_stay_where_they_are():
    text = "int a;\n__shared__ float\n    scratch[3]\n    [4];\nint b;\n"
    lines = translated(text).splitlines()
    assert lines[0] == '#line 1 "kernel.cu"' and lines[5] == "int b;"


def test_kernels_are_found():
    source = """
    // __global__ void in_a_comment(int* x);
    const char* text = "__global__ void in_a_string()";
    __global__ void plain(int* x) { if (*x) { *x = 1; } }
    template <typename T, int N>
    __global__ void wide(T* x) {}
    extern "C" __global__ void __launch_bounds__(256, 2) bounded() {}
    __global__ __launch_bounds__(128) void other() {}
    namespace a { namespace b { __global__ void inner() {} } struct S {}; __global__ void outer() {} }
    static __global__ void late() {}
    """
    kernels = [(kernel.name, kernel.is_template) for kernel in find_kernels(read_source(source))]
    plain = ["bounded", "other", "a::b::inner", "a::outer", "late"]
    assert kernels == [("plain", False), ("wide", True), *((name, False) for name in plain)]


def test_names_are_needed_for_templates():
    with pytest.raises(emulator.SourceError, match=r'all kernels are templates.*names=\["scale<float>"\]'):
        emulator.Module("template <typename T> __global__ void scale(T* x) {}")
    with pytest.raises(emulator.SourceError, match="no kernel"):
        emulator.Module("void scale(float* x) {}")


@pytest.mark.parametrize(
    "declaration, message",
    [
        ("__shared__ float x = 1;", "cannot be initialised"),
        ("__shared__ float x[2] = {1, 2};", "cannot be initialised"),
        ("extern __shared__ float x[], y[];", "one name and empty brackets"),
        ("extern __shared__ float x[4];", "one name and empty brackets"),
        ("__shared__ float x[];", "expected name[size]"),
        ("constexpr __shared__ float x[4];", "found 'constexpr' before it"),
        ("__shared__ float (*x)[4];", "cannot read"),
        ("__shared__ x;", "expected a type and a name"),
        ("__shared__ float x[4]", "semicolon"),
    ],
)
def test_declarations_that_are_not_understood(declaration, message):
    with pytest.raises(emulator.SourceError) as caught:
        translated("\n\n__global__ void k() {\n    int y;\n    " + declaration + "\n}")
    assert message in str(caught.value) and str(caught.value).startswith("kernel.cu:5: ")
    assert (caught.value.file, caught.value.line) == ("kernel.cu", 5)


def test_line_directives_are_followed():
    with pytest.raises(emulator.SourceError, match="^second.cu:12: "):
        translated('int a;\n#line 11 "second.cu"\nint b;\n__shared__ int c = 1;\n')


def test_macros_cannot_declare():
    with pytest.raises(emulator.SourceError, match="kernel.cu:2: __shared__ in a macro"):
        translated("int a;\n#define SCRATCH(n) \\\n    __shared__ float scratch[n]\n")
    translated("#define OTHER(n) n  // not __shared__\n")


needs_compiler = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))


@needs_compiler
def test_headers_are_read_and_named_in_errors(tmp_path):
    import numpy as np

    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "total.cuh").write_text(
        '#pragma once\n#include "ones.cuh"\n__device__ int total(int i) {\n    __shared__ int scratch[4];\n'
        "    scratch[i] = one();\n    __syncthreads();\n    return scratch[i + 1];\n}\n"
    )
    (tmp_path / "parts" / "ones.cuh").write_text("#pragma once\n__device__ int one() { return 1; }\n")
    (tmp_path / "main.cu").write_text(
        '#include "parts/total.cuh"\n#include "parts/total.cuh"\n#include "parts/ones.cuh"\n'
        "__global__ void k(int* x) { x[threadIdx.x] = total(threadIdx.x); }\n"
    )
    kernel = emulator.Module(tmp_path / "main.cu").kernel()
    with emulator.checking():
        x = np.zeros(3, np.int32)
        with pytest.raises(emulator.UninitialisedError) as caught:
            kernel(1, 3, (x,))
        assert caught.value.file == "total.cuh" and caught.value.line == 7
        with pytest.raises(emulator.OutOfBoundsError) as caught:
            emulator.Module(tmp_path / "main.cu").kernel()(1, 4, (np.zeros(3, np.int32),))
        assert caught.value.file == "total.cuh"
    with pytest.raises(emulator.OutOfBoundsError) as caught, emulator.checking():
        folder = emulator.Module(
            '#include "total.cuh"\n__global__ void k(int* x) { x[5] = one(); }', include=tmp_path / "parts"
        )
        folder.kernel()(1, 1, (x,))
    assert (caught.value.file, caught.value.line) == ("kernel.cu", 2)


@needs_compiler
def test_the_compilers_message_names_the_readers_line():
    module = emulator.Module("\n__global__ void k(float* x) {\n    x[0] = undeclared;\n}", file="mine.cu")
    with pytest.raises(emulator.CompileError, match=r"mine\.cu:3:.*undeclared"):
        module.kernel("k").parameters  # noqa: B018


@needs_compiler
def test_names_of_the_c_library_may_be_kernels():
    import numpy as np

    x = np.zeros(1, np.int32)
    for name in ("index", "div", "remove"):
        emulator.Module(f"__global__ void {name}(int* x) {{ x[0] += 1; }}").kernel()(1, 1, (x,))
    assert x[0] == 3
