// Numeric functions that CUDA has and C++ lacks, and those of <cmath> under their CUDA names.
//
// The fast ones (__expf, __fdividef ...) have full precision here: the emulator does not show a GPU's error.
#pragma once
#include <cmath>

#include "device.h"

using std::abs, std::ceil, std::cos, std::cosh, std::erf, std::erfc, std::exp, std::exp2, std::expm1, std::fabs;
using std::floor, std::fma, std::fmax, std::fmin, std::fmod, std::isfinite, std::isinf, std::isnan, std::log;
using std::log10, std::log1p, std::log2, std::pow, std::rint, std::round, std::sin, std::sinh, std::sqrt, std::tan;
using std::tanh, std::trunc;

// ------------------------------------------------------------------------------------------------ floating point

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10.0f, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return float(1.0 / std::sqrt(double(x))); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline void sincosf(float x, float* sine, float* cosine, int = 0) { *sine = sinf(x), *cosine = cosf(x); }

// ----------------------------------------------------------------------------------------------- the same bits

template <typename To, typename From> EMULATOR_UNCHECKED inline To emulator_bits_as(From value) {
    static_assert(sizeof(To) == sizeof(From), "of the same size");
    To result;
    std::memcpy(&result, &value, sizeof result);
    return result;
}
inline unsigned __float_as_uint(float x) { return emulator_bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return emulator_bits_as<int>(x); }
inline float __uint_as_float(unsigned bits) { return emulator_bits_as<float>(bits); }
inline float __int_as_float(int bits) { return emulator_bits_as<float>(bits); }
inline long long __double_as_longlong(double x) { return emulator_bits_as<long long>(x); }
inline double __longlong_as_double(long long bits) { return emulator_bits_as<double>(bits); }

// ---------------------------------------------------------------------------------------------------- integers

inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline int __mulhi(int a, int b) { return int(int64_t(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)(a) * b >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; bit++) reversed |= (x >> bit & 1u) << (31 - bit);
    return reversed;
}

// --------------------------------------------------------------------------------------------- smaller, greater

// As in CUDA, where the two arguments need not be of the same type: max(x, 0u) and fmaxf-like max(1.0f, x).
template <typename A, typename B> inline auto min(A a, B b) -> typename std::common_type<A, B>::type {
    using Result = typename std::common_type<A, B>::type;
    if constexpr (std::is_floating_point<Result>::value) return std::fmin(Result(a), Result(b));
    else return Result(b) < Result(a) ? Result(b) : Result(a);
}
template <typename A, typename B> inline auto max(A a, B b) -> typename std::common_type<A, B>::type {
    using Result = typename std::common_type<A, B>::type;
    if constexpr (std::is_floating_point<Result>::value) return std::fmax(Result(a), Result(b));
    else return Result(a) < Result(b) ? Result(b) : Result(a);
}

// ---------------------------------------------------------------------------------------- loads through a cache

template <typename T> __forceinline__ T __ldg(const T* address) { return *address; }
template <typename T> __forceinline__ T __ldcs(const T* address) { return *address; }
template <typename T> __forceinline__ T __ldcg(const T* address) { return *address; }
template <typename T> __forceinline__ T __ldca(const T* address) { return *address; }
template <typename T> __forceinline__ void __stcs(T* address, T value) { *address = value; }
template <typename T> __forceinline__ void __stcg(T* address, T value) { *address = value; }
