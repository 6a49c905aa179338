// Kernels for a program that needs no Python: alone_main.cpp is its other half, test_platforms.py builds and runs it.
// All have the same parameters; x are small integers, so that sums are the same in every order.
#include <mma.h>

// The sum of x, by shuffles and shared memory.
__global__ void sum(const float* x, float* y, int n) {
    __shared__ float parts[32];
    float value = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) value += x[i];
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned i = 1; i < blockDim.x / 32; i++) value += parts[i];
        y[blockIdx.x] = value;
    }
}

// Many numbers in registers that must survive a switch from thread to thread.
__global__ void registers(const float* x, float* y, int n) {
    double a = x[0], b = x[1], c = x[2], d = x[3], e = x[4], f = x[5], g = x[6], h = x[7];
    long i = threadIdx.x + 1, j = 2 * i, k = 3 * i, l = 4 * i, m = 5 * i;
    for (int turn = 0; turn < n; turn++) {
        __syncthreads();
        a += i, b += j, c += k, d += l, e += m, f += a, g += b, h += c;
        i += 1, j += i, k += j, l += k, m += l;
    }
    y[threadIdx.x + blockIdx.x * blockDim.x] = float(a + b + c + d + e + f + g + h + double(i + j + k + l + m));
}

__global__ void product(const float* x, float* y, int n) {
    using namespace nvcuda;
    __shared__ __half a_tile[256];
    __shared__ __nv_bfloat16 first[4];
    for (int i = threadIdx.x; i < 256; i += blockDim.x) a_tile[i] = x[i % n];
    if (threadIdx.x < 4) first[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> b;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> c;
    wmma::fill_fragment(c, float(first[threadIdx.x / 32]));
    wmma::load_matrix_sync(a, a_tile, 16);
    wmma::load_matrix_sync(b, a_tile, 16);
    wmma::mma_sync(c, a, b, c);
    if (threadIdx.x < 32) wmma::store_matrix_sync(y, c, 16, wmma::mem_row_major);
}

__global__ void diverge(const float* x, float* y, int n) {
    if (threadIdx.x < 7) __syncthreads();
    y[threadIdx.x] = x[threadIdx.x] + n;
}

__global__ void lost(const float* x, float* y, int n) { y[threadIdx.x] = *reinterpret_cast<const float*>(0x1000); }

// A race: nothing makes the first thread wait for the others.
__global__ void hurry(const float* x, float* y, int n) {
    __shared__ float last;
    if (threadIdx.x == blockDim.x - 1) last = x[n - 1];
    if (blockIdx.x == 0) y[threadIdx.x] = last;
}
