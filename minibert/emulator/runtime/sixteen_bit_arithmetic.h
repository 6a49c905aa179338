// Arithmetic by name (__hadd, __hfma2 ...) and atomicAdd for a 16-bit type and its pairs: cuda_fp16.h and cuda_bf16.h
// expand the macro at the end.  Each operation rounds once.
#pragma once
#include <cmath>

#include "sixteen_bits.h"
#ifdef MINIBERT_EMULATOR
#include "atomics.h"
#endif

namespace emulator::sixteen_bits {

// a * b + c, rounded to odd (see to_odd): rounding it again to 16 bits gives the same as rounding the exact value.
// The product of two 16-bit numbers is exact in a double; the error of the sum is computed as in Knuth's TwoSum.
inline double fma_to_odd(double a, double b, double c) {
    double product = a * b, sum = product + c;
    if (!std::isfinite(sum)) return sum;
    double rest = sum - product, error = (product - (sum - rest)) + (c - rest);
    uint64_t bits;
    std::memcpy(&bits, &sum, sizeof bits);
    if (error != 0 && bits % 2 == 0) bits += (error > 0) == (sum > 0) ? 1 : -1;
    std::memcpy(&sum, &bits, sizeof sum);
    return sum;
}

// The other number if one is NaN; -0 is less than +0.
inline bool takes_first(float a, float b, bool greater) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(b);
    if (a == b) return std::signbit(a) != greater;
    return (a > b) == greater;
}

}  // namespace emulator::sixteen_bits

#ifdef MINIBERT_EMULATOR
// Never inlined, so that the return address points into the kernel.
#define EMULATOR_SIXTEEN_BIT_ATOMICS(T, T2)                                                                     \
    __attribute__((noinline)) EMULATOR_UNCHECKED inline T atomicAdd(T* address, T operand) {                    \
        emulator::atomic_access(address, sizeof(T), __builtin_return_address(0));                               \
        T old = *address;                                                                                       \
        *address = old + operand;                                                                               \
        emulator::atomic_changed_something();                                                                   \
        return old;                                                                                             \
    }                                                                                                           \
    __attribute__((noinline)) EMULATOR_UNCHECKED inline T2 atomicAdd(T2* address, T2 operand) {                 \
        emulator::atomic_access(address, sizeof(T2), __builtin_return_address(0));                              \
        T2 old = *address;                                                                                      \
        *address = old + operand;                                                                               \
        emulator::atomic_changed_something();                                                                   \
        return old;                                                                                             \
    }
#else
#define EMULATOR_SIXTEEN_BIT_ATOMICS(T, T2)
#endif

#define EMULATOR_SIXTEEN_BIT_ARITHMETIC(T, T2)                                                                  \
    inline T __hadd(T a, T b) { return a + b; }                                                                 \
    inline T __hsub(T a, T b) { return a - b; }                                                                 \
    inline T __hmul(T a, T b) { return a * b; }                                                                 \
    inline T __hdiv(T a, T b) { return a / b; }                                                                 \
    inline T __hneg(T a) { return -a; }                                                                         \
    inline T __habs(T a) { return std::signbit(float(a)) ? -a : a; }                                            \
    inline T __hfma(T a, T b, T c) {                                                                            \
        return T(emulator::sixteen_bits::fma_to_odd(__wide(a), __wide(b), __wide(c)));                          \
    }                                                                                                           \
    inline T __hmax(T a, T b) { return emulator::sixteen_bits::takes_first(a, b, true) ? a : b; }               \
    inline T __hmin(T a, T b) { return emulator::sixteen_bits::takes_first(a, b, false) ? a : b; }              \
    inline bool __heq(T a, T b) { return a == b; }                                                              \
    inline bool __hne(T a, T b) { return a < b || a > b; }                                                      \
    inline bool __hlt(T a, T b) { return a < b; }                                                               \
    inline bool __hle(T a, T b) { return a <= b; }                                                              \
    inline bool __hgt(T a, T b) { return a > b; }                                                               \
    inline bool __hge(T a, T b) { return a >= b; }                                                              \
    inline bool __hisnan(T a) { return std::isnan(float(a)); }                                                  \
    inline int __hisinf(T a) { return std::isinf(float(a)) ? (a > T(0) ? 1 : -1) : 0; }                         \
    inline T hsqrt(T a) { return T(std::sqrt(__wide(a))); }                                                     \
    inline T hrsqrt(T a) { return T(1 / std::sqrt(__wide(a))); }                                                \
    inline T hrcp(T a) { return T(1 / __wide(a)); }                                                             \
    inline T hexp(T a) { return T(std::exp(__wide(a))); }                                                       \
    inline T hlog(T a) { return T(std::log(__wide(a))); }                                                       \
    inline T2 __hadd2(T2 a, T2 b) { return a + b; }                                                             \
    inline T2 __hsub2(T2 a, T2 b) { return a - b; }                                                             \
    inline T2 __hmul2(T2 a, T2 b) { return a * b; }                                                             \
    inline T2 __h2div(T2 a, T2 b) { return a / b; }                                                             \
    inline T2 __hneg2(T2 a) { return {-a.x, -a.y}; }                                                            \
    inline T2 __habs2(T2 a) { return {__habs(a.x), __habs(a.y)}; }                                              \
    inline T2 __hfma2(T2 a, T2 b, T2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }              \
    inline T2 __hmax2(T2 a, T2 b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }                              \
    inline T2 __hmin2(T2 a, T2 b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }                              \
    inline T2 h2sqrt(T2 a) { return {hsqrt(a.x), hsqrt(a.y)}; }                                                 \
    inline T2 h2rsqrt(T2 a) { return {hrsqrt(a.x), hrsqrt(a.y)}; }                                              \
    inline T2 h2rcp(T2 a) { return {hrcp(a.x), hrcp(a.y)}; }                                                    \
    inline T2 h2exp(T2 a) { return {hexp(a.x), hexp(a.y)}; }                                                    \
    inline T2 h2log(T2 a) { return {hlog(a.x), hlog(a.y)}; }                                                    \
    inline T2& operator+=(T2& a, T2 b) { return a = a + b; }                                                    \
    inline T2& operator-=(T2& a, T2 b) { return a = a - b; }                                                    \
    inline T2& operator*=(T2& a, T2 b) { return a = a * b; }                                                    \
    inline T2& operator/=(T2& a, T2 b) { return a = a / b; }                                                    \
    inline T2 operator+(T2 a) { return a; }                                                                     \
    inline T2 operator-(T2 a) { return {-a.x, -a.y}; }                                                          \
    inline bool operator==(T2 a, T2 b) { return a.x == b.x && a.y == b.y; }                                     \
    inline bool operator!=(T2 a, T2 b) { return a.x != b.x && a.y != b.y; } /* as in CUDA: both differ */       \
    inline bool operator<(T2 a, T2 b) { return a.x < b.x && a.y < b.y; }                                        \
    inline bool operator<=(T2 a, T2 b) { return a.x <= b.x && a.y <= b.y; }                                     \
    inline bool operator>(T2 a, T2 b) { return a.x > b.x && a.y > b.y; }                                        \
    inline bool operator>=(T2 a, T2 b) { return a.x >= b.x && a.y >= b.y; }                                     \
    EMULATOR_SIXTEEN_BIT_ATOMICS(T, T2)
