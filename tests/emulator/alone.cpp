// Kernels and the runtime in one program that needs no Python: for machines that are themselves emulated.
// Prints what the kernels computed; test_platforms.py compares it.  usage: alone KERNEL ORDER
#include "cuda_emulator.h"
#include "mma.h"

#define emulator_kernels table_of_kernels  // not exported here

// The sum of the block, by shuffles and shared memory; x are integers, so that every order gives the same.
__global__ void sum(const float* x, float* y, int n) {
    struct Parts { float parts[32]; };
    auto& parts = emulator::static_shared<Parts>("parts", sizeof(float)).parts;
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

// The sum of x by a float in each of many registers that must survive a switch from thread to thread.
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
    struct Tiles { __half a[256]; __nv_bfloat16 b[256]; };
    auto& tiles = emulator::static_shared<Tiles>("tiles", sizeof(__half));
    for (int i = threadIdx.x; i < 256; i += blockDim.x) tiles.a[i] = x[i % n], tiles.b[i] = x[(i * 7) % n];
    __syncthreads();
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> b;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> c;
    wmma::fill_fragment(c, float(tiles.b[threadIdx.x / 32]));
    wmma::load_matrix_sync(a, tiles.a, 16);
    wmma::load_matrix_sync(b, tiles.a, 16);
    wmma::mma_sync(c, a, b, c);
    if (threadIdx.x < 32) wmma::store_matrix_sync(y, c, 16, wmma::mem_row_major);
}

__global__ void diverge(const float* x, float* y, int n) {
    if (threadIdx.x < 7) __syncthreads();
    y[threadIdx.x] = x[threadIdx.x] + n;
}

__global__ void lost(const float* x, float* y, int n) { y[threadIdx.x] = *reinterpret_cast<const float*>(0x1000); }

EMULATOR_KERNELS(emulator::describe<&sum>("sum"), emulator::describe<&registers>("registers"),
                 emulator::describe<&product>("product"), emulator::describe<&diverge>("diverge"),
                 emulator::describe<&lost>("lost"))
