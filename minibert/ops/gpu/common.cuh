// Included first in every kernel file: types, vectors, sums over warps and blocks, and Philox.
//
//   T           the type in which a tensor is stored: __half, __nv_bfloat16, float or double
//   sum_t<T>    the type in which kernels compute with it: double for double, float for all others

#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename T> struct Sum { using type = float; };
template <> struct Sum<double> { using type = double; };
template <typename T> using sum_t = typename Sum<T>::type;

constexpr unsigned WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

// ---------------------------------------------------------------------------------------------- vectors

// Sixteen bytes: the most efficient access for one thread.  The address must be a multiple of sixteen.
template <typename T> struct alignas(16) Vec {
    static constexpr int size = 16 / sizeof(T);
    T at[size];
};

template <typename T> __device__ __forceinline__ Vec<T> load(const T* from) {
    return *reinterpret_cast<const Vec<T>*>(from);
}

template <typename T> __device__ __forceinline__ void store(T* to, const Vec<T>& vec) {
    *reinterpret_cast<Vec<T>*>(to) = vec;
}

// --------------------------------------------------------------------------- functions by their number type

__device__ __forceinline__ float exponential(float x) { return __expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }
__device__ __forceinline__ float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ __forceinline__ double hyperbolic_tangent(double x) { return tanh(x); }
__device__ __forceinline__ float inverse_root(float x) { return rsqrtf(x); }
__device__ __forceinline__ double inverse_root(double x) { return rsqrt(x); }
__device__ __forceinline__ float square_root(float x) { return sqrtf(x); }
__device__ __forceinline__ double square_root(double x) { return sqrt(x); }

// ------------------------------------------------------------------------------------- sums and maxima

// Every lane of the warp gets the sum.  All 32 lanes must take part.
template <typename A> __device__ __forceinline__ A warp_sum(A value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

template <typename A> __device__ __forceinline__ A warp_max(A value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        A other = __shfl_xor_sync(ALL_LANES, value, distance);
        value = other > value ? other : value;
    }
    return value;
}

// ----------------------------------------------------------------------------------------------- Philox

struct Words { unsigned at[4]; };

// Philox4x32-10, as minibert/base/philox.py explains it: four random words from a counter and a key.
__device__ __forceinline__ Words philox(unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1) {
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

constexpr int DECISIONS = 8;  // a decision takes sixteen bits, so one call of Philox decides on eight neighbours

// Word n, selected by comparisons: an index known only at run time would put the words in slow local memory.
__device__ __forceinline__ unsigned word(const Words& words, int n) {
    return n < 2 ? (n == 0 ? words.at[0] : words.at[1]) : (n == 2 ? words.at[2] : words.at[3]);
}

// Is neighbour j of the eight kept?  See minibert/ops/dropout.py for which bits decide.
__device__ __forceinline__ bool kept(const Words& words, int j, unsigned threshold) {
    return ((word(words, j / 2) >> (16 * (j % 2))) & 0xffffu) >= threshold;
}
