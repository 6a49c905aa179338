"""Whole programs, with main() and launches: what they print, and what is said about their mistakes."""

import re
import subprocess
import sys

import pytest

from minibert import emulator
from minibert.emulator.compiler import find_compiler
from minibert.emulator.launches import translate_launches
from minibert.emulator.program import translate_program
from minibert.emulator.source import read_source

needs_compiler = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))

RIGHT = r"""
#include <cstdio>
#include <iostream>
#include <vector>
using namespace std;
#define CHECK(call)                                                                             \
    do {                                                                                        \
        cudaError_t error = (call);                                                             \
        if (error != cudaSuccess) { printf("line %d: %s\n", __LINE__, cudaGetErrorString(error)); exit(3); } \
    } while (0)

template <typename T> __global__ void add(const T* a, const T* b, T* sum, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) sum[i] = a[i] + b[i];
}
namespace other {
__global__ void fill(int* x, int value) { x[blockIdx.x * blockDim.x + threadIdx.x] = value; }
__global__ void nothing() {}
}
__noinline__ __device__ int twice(int x) { return 2 * x; }
__global__ void reverse(int* x) {
    extern __shared__ int held[];
    held[threadIdx.x] = twice(x[threadIdx.x]);
    __syncthreads();
    x[threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
}

int main(int count, char** arguments) {
    const int n = min(1000, 2000);
    vector<float> a(n), b(n), sum(n);
    for (int i = 0; i < n; i++) a[i] = i, b[i] = 2 * i;
    float *on_device[3];
    for (float*& pointer : on_device) CHECK(cudaMalloc((void**)&pointer, n * sizeof(float)));
    CHECK(cudaMemcpy(on_device[0], a.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(on_device[1], b.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    dim3 block(128), grid((n + block.x - 1) / block.x);
    add<float><<<grid, block>>>(on_device[0],  // a comment, with a comma
                                on_device[1], on_device[2], n);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaMemcpy(sum.data(), on_device[2], n * sizeof(float), cudaMemcpyDeviceToHost));
    for (float* pointer : on_device) CHECK(cudaFree(pointer));
    double total = 0;
    for (float x : sum) total += x;
    cout << "total " << total << ", " << count << " " << arguments[1] << endl;
    int* managed;
    CHECK(cudaMallocManaged(&managed, 64 * sizeof(int)));
    other::fill<<<2, 32>>>(managed, 5);
    other::nothing<<<1, 1>>>();
    for (int i = 0; i < 64; i++) managed[i] += i;
    reverse<<<1, 64, 64 * sizeof(int)>>>(managed);
    printf("%d %d %s\n", managed[0], managed[63], cudaGetErrorString(cudaDeviceSynchronize()));
    CHECK(cudaMemset(managed, 0, 65 * sizeof(int)));
}
"""

WRONG = r"""
#include <cstdio>
#include <cassert>
#include <cstdlib>
__global__ void read(const float* x, float* y, int at) { assert(at < 20); y[0] = x[at]; }
int main(int count, char** arguments) {
    int at = atoi(arguments[1]);
    float host[8] = {}, *x, *y;
    cudaMalloc(&x, sizeof host);
    cudaMalloc(&y, sizeof host);
    cudaMemcpy(host, x, sizeof host, cudaMemcpyHostToDevice);
    cudaMemcpy(x, host, 2 * sizeof host, cudaMemcpyHostToDevice);
    read<<<1, 1025>>>(x, y, 0);
    printf("%s\n", cudaGetErrorString(cudaGetLastError()));
    if (at < 0) printf("%f\n", x[0]);
    read<<<1, 1>>>(x, y, at);
    printf("%s\n", cudaGetErrorName(cudaDeviceSynchronize()));
    printf("%s\n", cudaGetErrorName(cudaMemcpy(host, y, sizeof host, cudaMemcpyDeviceToHost)));
}
"""


ARRAY = "argument 0, the array allocated at program.cu:9"
WHERE = "[program.cu:5; block (0, 0, 0), thread (0, 0, 0)]"


def run(tmp_path, source, *arguments, options=()):
    (tmp_path / "program.cu").write_text(source)
    command = [sys.executable, "-m", "minibert.emulator", "run", *options, str(tmp_path / "program.cu"), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    result.stderr = re.sub(r"called at program\.cu:\d+; ", "", result.stderr)  # if the compiler has inlined the kernel
    return result


@needs_compiler
@pytest.mark.skipif(
    emulator.compiler_status() is None and find_compiler().is_zig, reason="ziglang brings no library for <iostream>"
)
def test_a_program_that_is_right_until_its_last_line(tmp_path):
    result = run(tmp_path, RIGHT, "hello")
    expected = ["total 1.4985e+06, 2 hello", "136 10 no error", "line 53: invalid argument"]
    assert (result.returncode, result.stdout.splitlines()) == (3, expected)
    what = "cudaMemset: the destination (cudaMalloc at program.cu:47) has 256 bytes from there, not 260"
    assert result.stderr == f"program.cu:53: {what}\n"


@needs_compiler
def test_the_mistakes_of_a_program(tmp_path):
    result = run(tmp_path, WRONG, "9")
    assert result.returncode == 1
    assert result.stdout.splitlines() == ["invalid configuration argument", *["cudaErrorIllegalAddress"] * 2]
    lines = [
        "program.cu:11: cudaMemcpy: the destination is not device memory that cudaMalloc gave",
        "program.cu:12: cudaMemcpy: the destination (cudaMalloc at program.cu:9) has 32 bytes from there, not 64",
        "program.cu:13: read<<<(1, 1, 1), (1025, 1, 1), 0>>> is not run: ",
        f"read: out of bounds: read of 4 bytes at element 9 of {ARRAY}, which has 8 {WHERE}",
    ]
    for line, expected in zip(result.stderr.splitlines(), lines, strict=True):
        assert line.startswith(expected)
    last = {
        "20": f"read: assertion: `at < 20` is false {WHERE}",
        "7": f"read: uninitialised: read of element 7 of {ARRAY}, which nobody has written {WHERE}",
        "-1": "host code: out of bounds: the host uses device memory (allocated at program.cu:9): copy it with "
        "cudaMemcpy [program.cu:15]",
    }
    for argument, expected in last.items():
        result = run(tmp_path, WRONG, argument)
        assert (result.returncode, result.stderr.splitlines()[-1]) == (1, expected)


def test_what_cannot_be_run_is_one_line(tmp_path):
    result = run(tmp_path, "__global__ void f() {}")
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "has no main()" in result.stderr
    (tmp_path / "program.cu").unlink()
    command = [sys.executable, "-m", "minibert.emulator", "run", str(tmp_path / "program.cu")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "No such file" in result.stderr


def test_launches_keep_the_lines_and_what_they_are_given():
    text = "int before;\nvoid f() {\n  if (x) k<A<1>, 2>\n <<<g,\n b(1, 2)>>>(a[i++],\n  {1, 2});\n}\nint after;\n"
    lines = translate_launches(read_source(text)).text.splitlines()
    assert lines.index("int after;") == 8 and lines[1] == "int before;"
    call = " ".join(lines[3:8])
    assert "if (x) emulator::host::launch_kernel(" in call and '"k<A<1>,2>"' in call and "a[i++]," in call


@pytest.mark.parametrize("launch", ["k<<<1, 2>>>;", "k<<<1, 2(x);", "(*k)<<<1, 2>>>(x);", "k<<<1, 2>>> x(3);"])
def test_launches_that_are_not_understood(launch):
    with pytest.raises(emulator.SourceError, match=r"^kernel\.cu:2: cannot read this launch"):
        translate_launches(read_source(f"void f() {{\n {launch}\n}}"))


def test_a_program_needs_main():
    with pytest.raises(emulator.SourceError, match=r"no main\(\).*emulator\.Module"):
        translate_program(read_source("__global__ void remain(int x) {}"))


@needs_compiler
def test_kernels_of_a_program_can_be_launched_from_python():
    import numpy as np

    x = np.arange(4, dtype=np.float32)
    y = np.zeros(1, np.float32)
    emulator.Module(WRONG).kernel("read")(1, 1, (x, y, np.int32(3)))
    assert y[0] == 3
