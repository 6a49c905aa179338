// The type __half of CUDA's cuda_fp16.h: a number in sixteen bits, IEEE 754's binary16.
//
// Conversions and operators are as in CUDA, so that what nvcc rejects is rejected
// here too: `half + 1.0f` is ambiguous, a sum of halves or of floats, and is an error.  Kernels compute in float.
#pragma once
#include "sixteen_bit_arithmetic.h"
#include "sixteen_bits.h"

struct __nv_bfloat16;

struct alignas(2) __half {
    __half() = default;  // uninitialised, as a float would be
    explicit __half(__nv_bfloat16 x);
    __half(float x) : bits(emulator::sixteen_bits::half_from(x)) {}
    __half(double x) : __half(emulator::sixteen_bits::to_odd(x)) {}
    __half(short x) : __half(emulator::sixteen_bits::exactly(x)) {}
    __half(unsigned short x) : __half(emulator::sixteen_bits::exactly(x)) {}
    __half(int x) : __half(emulator::sixteen_bits::exactly(x)) {}
    __half(unsigned int x) : __half(emulator::sixteen_bits::exactly(x)) {}
    __half(long x) : __half(emulator::sixteen_bits::exactly(x)) {}
    __half(unsigned long x) : __half(emulator::sixteen_bits::exactly(x)) {}
    __half(long long x) : __half(emulator::sixteen_bits::exactly(x)) {}
    __half(unsigned long long x) : __half(emulator::sixteen_bits::exactly(x)) {}

    __half& operator=(float x) { return *this = __half(x); }
    __half& operator=(double x) { return *this = __half(x); }
    __half& operator=(short x) { return *this = __half(x); }
    __half& operator=(unsigned short x) { return *this = __half(x); }
    __half& operator=(int x) { return *this = __half(x); }
    __half& operator=(unsigned int x) { return *this = __half(x); }
    __half& operator=(long long x) { return *this = __half(x); }
    __half& operator=(unsigned long long x) { return *this = __half(x); }

    operator float() const { return emulator::sixteen_bits::from_half(bits); }
    operator bool() const { return (bits & 0x7fff) != 0; }
    operator char() const { return emulator::sixteen_bits::cut_to<char>(float(*this)); }
    operator signed char() const { return emulator::sixteen_bits::cut_to<signed char>(float(*this)); }
    operator unsigned char() const { return emulator::sixteen_bits::cut_to<unsigned char>(float(*this)); }
    operator short() const { return emulator::sixteen_bits::cut_to<short>(float(*this)); }
    operator unsigned short() const { return emulator::sixteen_bits::cut_to<unsigned short>(float(*this)); }
    operator int() const { return emulator::sixteen_bits::cut_to<int>(float(*this)); }
    operator unsigned int() const { return emulator::sixteen_bits::cut_to<unsigned int>(float(*this)); }
    operator long() const { return emulator::sixteen_bits::cut_to<long>(float(*this)); }
    operator unsigned long() const { return emulator::sixteen_bits::cut_to<unsigned long>(float(*this)); }
    operator long long() const { return emulator::sixteen_bits::cut_to<long long>(float(*this)); }
    operator unsigned long long() const { return emulator::sixteen_bits::cut_to<unsigned long long>(float(*this)); }

  private:
    uint16_t bits;
    friend unsigned short __half_as_ushort(__half x);
    friend __half __ushort_as_half(unsigned short bits);
};
using half = __half;

// ------------------------------------------------------------------------------------------------ conversions

inline float __half2float(__half x) { return float(x); }
inline __half __float2half(float x) { return __half(x); }
inline __half __float2half_rn(float x) { return __half(x); }
inline __half __double2half(double x) { return __half(x); }
inline __half __int2half_rn(int x) { return __half(x); }
inline __half __uint2half_rn(unsigned int x) { return __half(x); }
inline int __half2int_rz(__half x) { return int(x); }

inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) {
    __half x;
    x.bits = bits;
    return x;
}

// ------------------------------------------------------------------------------- operators, each rounded once

// A double has more than twice the bits of a half: rounding its sums, differences, products and quotients again
// to half gives the same as rounding the exact ones.
inline double __wide(__half x) { return float(x); }
inline __half operator+(__half a, __half b) { return __half(__wide(a) + __wide(b)); }
inline __half operator-(__half a, __half b) { return __half(__wide(a) - __wide(b)); }
inline __half operator*(__half a, __half b) { return __half(__wide(a) * __wide(b)); }
inline __half operator/(__half a, __half b) { return __half(__wide(a) / __wide(b)); }
inline __half& operator+=(__half& a, __half b) { return a = a + b; }
inline __half& operator-=(__half& a, __half b) { return a = a - b; }
inline __half& operator*=(__half& a, __half b) { return a = a * b; }
inline __half& operator/=(__half& a, __half b) { return a = a / b; }
inline __half operator+(__half a) { return a; }
inline __half operator-(__half a) { return __ushort_as_half(__half_as_ushort(a) ^ 0x8000); }

inline bool operator==(__half a, __half b) { return float(a) == float(b); }
inline bool operator!=(__half a, __half b) { return float(a) != float(b); }
inline bool operator<(__half a, __half b) { return float(a) < float(b); }
inline bool operator<=(__half a, __half b) { return float(a) <= float(b); }
inline bool operator>(__half a, __half b) { return float(a) > float(b); }
inline bool operator>=(__half a, __half b) { return float(a) >= float(b); }

// ---------------------------------------------------------------------------------------- two halves at once

struct alignas(4) __half2 {
    __half x, y;
    __half2() = default;
    __half2(const __half& x, const __half& y) : x(x), y(y) {}
};
using half2 = __half2;

inline __half2 make_half2(__half x, __half y) { return {x, y}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __half2half2(__half x) { return {x, x}; }
inline __half2 __float2half2_rn(float x) { return {__half(x), __half(x)}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
inline __half2 __float22half2_rn(float2 pair) { return {__half(pair.x), __half(pair.y)}; }
inline float2 __half22float2(__half2 pair) { return {float(pair.x), float(pair.y)}; }
inline __half __low2half(__half2 pair) { return pair.x; }
inline __half __high2half(__half2 pair) { return pair.y; }
inline float __low2float(__half2 pair) { return float(pair.x); }
inline float __high2float(__half2 pair) { return float(pair.y); }

inline __half2 operator+(__half2 a, __half2 b) { return {a.x + b.x, a.y + b.y}; }
inline __half2 operator-(__half2 a, __half2 b) { return {a.x - b.x, a.y - b.y}; }
inline __half2 operator*(__half2 a, __half2 b) { return {a.x * b.x, a.y * b.y}; }
inline __half2 operator/(__half2 a, __half2 b) { return {a.x / b.x, a.y / b.y}; }

EMULATOR_SIXTEEN_BIT_ARITHMETIC(__half, __half2)
inline __half2 __low2half2(__half2 pair) { return {pair.x, pair.x}; }
inline __half2 __high2half2(__half2 pair) { return {pair.y, pair.y}; }
inline __half2 __lows2half2(__half2 a, __half2 b) { return {a.x, b.x}; }
inline __half2 __highs2half2(__half2 a, __half2 b) { return {a.y, b.y}; }
inline __half2 __lowhigh2highlow(__half2 pair) { return {pair.y, pair.x}; }
