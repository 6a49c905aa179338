// Qualifiers, vector types and built-in variables of CUDA C++.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __CUDA_EMULATOR__ 1

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
// (source.py replaces __noinline__, which the headers of the standard library use in another way)
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

// For functions of the emulator itself: check mode watches what kernels read and write, not what these do.
#define EMULATOR_UNCHECKED __attribute__((no_sanitize("thread", "undefined")))

// ------------------------------------------------------------------------------------------------ vector types

#define EMULATOR_VECTORS(name, type, pair_bytes, quad_bytes)                                                     \
    struct name##1 { type x; };                                                                                  \
    struct alignas(pair_bytes) name##2 { type x, y; };                                                           \
    struct name##3 { type x, y, z; };                                                                            \
    struct alignas(quad_bytes) name##4 { type x, y, z, w; };                                                     \
    inline name##1 make_##name##1(type x) { return {x}; }                                                        \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                             \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                                  \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

EMULATOR_VECTORS(char, signed char, 2, 4)
EMULATOR_VECTORS(uchar, unsigned char, 2, 4)
EMULATOR_VECTORS(short, short, 4, 8)
EMULATOR_VECTORS(ushort, unsigned short, 4, 8)
EMULATOR_VECTORS(int, int, 8, 16)
EMULATOR_VECTORS(uint, unsigned int, 8, 16)
EMULATOR_VECTORS(longlong, long long, 16, 16)
EMULATOR_VECTORS(ulonglong, unsigned long long, 16, 16)
EMULATOR_VECTORS(float, float, 8, 16)
EMULATOR_VECTORS(double, double, 16, 16)
#undef EMULATOR_VECTORS

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 size) : x(size.x), y(size.y), z(size.z) {}
};

// ------------------------------------------------------------------------------------------ built-in variables

// Constant, as in CUDA: a thread never sees them change, although the emulator sets them whenever it resumes another
// thread.  runtime.cpp, which does that, does not see these declarations.
#pragma GCC visibility push(hidden)
#ifndef EMULATOR_RUNTIME
extern const uint3 threadIdx, blockIdx;
extern const dim3 blockDim, gridDim;
#endif
#pragma GCC visibility pop
constexpr int warpSize = 32;
