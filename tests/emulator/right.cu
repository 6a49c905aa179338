// Right kernels: what CUDA C++ offers, each in a few lines.  test_right.py says what they compute.

// ------------------------------------------------------------------------------------------- where a thread is

__global__ void places(int* out) {
    int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    int i = block * (blockDim.x * blockDim.y * blockDim.z) + thread;
    out[i] = i * 10 + thread % warpSize % 10;
}

template <typename T, int TIMES> __global__ void scale(T* x, const int n, T factor) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (int time = 0; time < TIMES && i < n; time++) x[i] *= factor;
}

namespace deep {
__global__ void inside(int* x) { x[threadIdx.x] = 7; }
}  // namespace deep

__constant__ float table[3] = {1, 10, 100};
__device__ int calls;

__global__ void uses_table(float* x, int* count) {
    x[threadIdx.x] = table[threadIdx.x % 3];
    atomicAdd(&calls, 1);
    __syncthreads();
    if (threadIdx.x == 0) count[0] = calls;
}

// ------------------------------------------------------------------------------------------------ shared memory

struct Pair {
    float first;
    int second;
};
template <typename A, typename B> struct Both {
    A a;
    B b;
};

template <typename T, int SIDE> __global__ void transpose(const T* x, T* y) {
    __shared__ T tile[SIDE][SIDE + 1];
    tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * SIDE + threadIdx.x];
    __syncthreads();
    y[threadIdx.y * SIDE + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
}

__global__ void declarations(int* out) {
    __shared__ int one;
    __shared__ __align__(16) unsigned char bytes[4 * 4], more[2];
    __shared__ Both<int, float> both[32 > 4 ? 2 : 1];  // a comment; with a semicolon
    volatile __shared__ Pair pairs[2]
                                  [3];
    __shared__ const int* pointer;
    extern __shared__ __align__(8) long long scratch[];
    if (threadIdx.x == 0) {
        one = 1, bytes[15] = 2, more[1] = 3, both[1].a = 4, pairs[1][2].second = 5, scratch[1] = 6;
        pointer = &one;
    }
    __syncthreads();
    out[threadIdx.x] = one + bytes[15] + more[1] + both[1].a + pairs[1][2].second + int(scratch[1]) + *pointer;
}

// A device function's own scratch; each instance of the template has another one.
template <typename T> __device__ T block_total(T value) {
    __shared__ T scratch[32];
    __syncthreads();  // others may still read what the last call left
    scratch[threadIdx.x] = value;
    __syncthreads();
    T total = 0;
    for (unsigned i = 0; i < blockDim.x; i++) total += scratch[i];
    return total;
}

__global__ void totals(double* out) {
    float ones = block_total(1.0f);
    double numbers = block_total(double(threadIdx.x)), more = block_total(2.0 * threadIdx.x);
    if (threadIdx.x == 0) out[0] = ones, out[1] = numbers, out[2] = more;
}

// --------------------------------------------------------------------------------------------- barriers, warps

__global__ void tree(const float* x, float* y) {
    extern __shared__ float sums[];
    sums[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    for (unsigned step = blockDim.x / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) sums[threadIdx.x] += sums[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) y[blockIdx.x] = sums[0];
}

// Halves of a warp that wait for themselves only, then for each other.
__global__ void half_warps(int* out) {
    __shared__ int scratch[32];
    int lane = threadIdx.x;
    if (lane < 16) {
        for (int round = 0; round < 3; round++) {
            scratch[lane] = round;
            __syncwarp(0x0000ffffu);
            scratch[lane ^ 1] += lane;
            __syncwarp(0x0000ffffu);
        }
    } else {
        scratch[lane] = 100;
        __syncwarp(0xffff0000u);
    }
    __syncwarp();
    out[lane] = scratch[31 - lane];
}

// Partial masks, taken a different number of times, then the whole warp: no lane may get an old value.
__global__ void uneven_shuffles(int* out) {
    int lane = threadIdx.x, value = lane;
    if (lane < 16) value += __shfl_xor_sync(0x0000ffffu, value, 1);
    out[lane] = __shfl_sync(0xffffffffu, value, (lane + 1) % 32);
}

__global__ void shuffles(const int* x, int* out, int distance, int width) {
    int value = x[threadIdx.x];
    int* row = out + threadIdx.x * 4;
    row[0] = __shfl_sync(0xffffffffu, value, distance, width);
    row[1] = __shfl_up_sync(0xffffffffu, value, distance, width);
    row[2] = __shfl_down_sync(0xffffffffu, value, distance, width);
    row[3] = __shfl_xor_sync(0xffffffffu, value, distance, width);
}

__global__ void shuffles_of_eight_bytes(double* x) {
    x[threadIdx.x] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1);
}

__global__ void votes(const int* x, unsigned* out) {
    int value = x[threadIdx.x];
    unsigned* row = out + threadIdx.x * 4;
    row[0] = __ballot_sync(0xffffffffu, value > 2);
    row[1] = __any_sync(0xffffffffu, value > 8);
    row[2] = __all_sync(0xffffffffu, value > 0);
    row[3] = __match_any_sync(0xffffffffu, value);
}

__global__ void block_votes(const int* x, int* out) {
    int value = x[threadIdx.x];
    int* row = out + threadIdx.x * 3;
    row[0] = __syncthreads_count(value > 2);
    row[1] = __syncthreads_or(value > 8);
    row[2] = __syncthreads_and(value > 0);
}

// Whole warps may end before the others shuffle on.
__global__ void warps_end_early(int* out, int n) {
    int warp = threadIdx.x / 32;
    if (warp >= n) return;
    int active = __popc(__activemask());
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, warp, 1) + active;
}

// ------------------------------------------------------------------------------------------------------ atomics

__global__ void histogram(const int* x, unsigned* counts, int n) {
    __shared__ unsigned local[8];
    if (threadIdx.x < 8) local[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[x[i]], 1);
    __syncthreads();
    if (threadIdx.x < 8) atomicAdd(&counts[threadIdx.x], local[threadIdx.x]);
}

__global__ void atomics(int* x, unsigned* y, float* f, unsigned long long* big) {
    int i = threadIdx.x;
    atomicAdd(x, i), atomicSub(x + 1, i), atomicMax(x + 2, i), atomicMin(x + 3, -i), atomicExch(x + 4, 9);
    atomicAnd(y, ~(1u << i)), atomicOr(y + 1, 1u << i), atomicXor(y + 2, 1u << i), atomicInc(y + 3, 9), atomicDec(y + 4, 9);
    atomicAdd(f, 0.5f), atomicAdd(big, 1ull << 40);
    int seen = x[5 + 0 * i] * 0, old;  // nobody writes x[5]
    do {
        old = seen;
        seen = atomicCAS(x + 6, old, old + 2);
    } while (seen != old);
}

// Threads of several warps take turns by a lock: those who spin let the others go on.
__global__ void locked(int* lock, int* out) {
    if (threadIdx.x % 32 != 0) return;
    while (atomicCAS(lock, 0, 1) != 0) {
    }
    atomicAdd(out, 1);
    atomicExch(lock, 0);
}

// ------------------------------------------------------------------------------------------------------ numbers

__global__ void functions(const float* x, float* out) {
    float a = x[0], b = x[1];
    float results[] = {rsqrtf(a), __expf(b), __logf(a), __fdividef(a, b), fmaf(a, b, 1.0f), fmaxf(a, b), fminf(a, b),
                       sqrtf(a), tanhf(b), erff(b), fabsf(-b), max(a, b), min(a, b), exp(b), pow(a, b), rsqrt(a),
                       __saturatef(a), floorf(b), float(isnan(a)), fmaxf(NAN, b), max(NAN, b)};
    for (unsigned i = 0; i < sizeof results / sizeof *results; i++) out[i] = results[i];
}

__global__ void integers(const unsigned* x, unsigned* out) {
    unsigned a = x[0], b = x[1];
    unsigned results[] = {__umulhi(a, b), unsigned(__mulhi(int(a), int(b))), unsigned(__popc(a)), unsigned(__clz(int(b))),
                          unsigned(__ffs(int(b))), __brev(a), __float_as_uint(1.0f), unsigned(__uint_as_float(0x40400000u)),
                          max(a, b), min(a, b), unsigned(__umul64hi(1ull << 63, a)), unsigned(__clz(0)), __ldg(x + 1),
                          unsigned(__float_as_int(-0.0f)), unsigned(__int_as_float(0x3f800000))};
    for (unsigned i = 0; i < sizeof results / sizeof *results; i++) out[i] = results[i];
}

__global__ void vectors(const float4* x, double2* y, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    float4 v = x[i];
    float2 pair = make_float2(v.x + v.y, v.z + v.w);
    y[i] = make_double2(pair.x, pair.y);
}

__global__ void sizes(int* out) {
    int results[] = {sizeof(float2), alignof(float2), sizeof(float3), alignof(float3), alignof(float4), alignof(double2),
                     sizeof(uchar4), alignof(uchar4), alignof(short4), alignof(longlong2), sizeof(uint3), sizeof(dim3)};
    for (unsigned i = 0; i < sizeof results / sizeof *results; i++) out[i] = results[i];
}
