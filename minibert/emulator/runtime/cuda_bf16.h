// The type __nv_bfloat16 of CUDA's cuda_bf16.h: the upper sixteen bits of a float.
//
// Conversions and operators are as in CUDA: see cuda_fp16.h.
#pragma once
#include "cuda_fp16.h"
#include "sixteen_bits.h"

struct alignas(2) __nv_bfloat16 {
    __nv_bfloat16() = default;  // uninitialised, as a float would be
    explicit __nv_bfloat16(__half x);
    __nv_bfloat16(float x) : bits(emulator::sixteen_bits::bfloat16_from(x)) {}
    __nv_bfloat16(double x) : __nv_bfloat16(emulator::sixteen_bits::to_odd(x)) {}
    __nv_bfloat16(short x) : __nv_bfloat16(emulator::sixteen_bits::exactly(x)) {}
    __nv_bfloat16(unsigned short x) : __nv_bfloat16(emulator::sixteen_bits::exactly(x)) {}
    __nv_bfloat16(int x) : __nv_bfloat16(emulator::sixteen_bits::exactly(x)) {}
    __nv_bfloat16(unsigned int x) : __nv_bfloat16(emulator::sixteen_bits::exactly(x)) {}
    __nv_bfloat16(long x) : __nv_bfloat16(emulator::sixteen_bits::exactly(x)) {}
    __nv_bfloat16(unsigned long x) : __nv_bfloat16(emulator::sixteen_bits::exactly(x)) {}
    __nv_bfloat16(long long x) : __nv_bfloat16(emulator::sixteen_bits::exactly(x)) {}
    __nv_bfloat16(unsigned long long x) : __nv_bfloat16(emulator::sixteen_bits::exactly(x)) {}

    __nv_bfloat16& operator=(float x) { return *this = __nv_bfloat16(x); }
    __nv_bfloat16& operator=(double x) { return *this = __nv_bfloat16(x); }
    __nv_bfloat16& operator=(short x) { return *this = __nv_bfloat16(x); }
    __nv_bfloat16& operator=(unsigned short x) { return *this = __nv_bfloat16(x); }
    __nv_bfloat16& operator=(int x) { return *this = __nv_bfloat16(x); }
    __nv_bfloat16& operator=(unsigned int x) { return *this = __nv_bfloat16(x); }
    __nv_bfloat16& operator=(long long x) { return *this = __nv_bfloat16(x); }
    __nv_bfloat16& operator=(unsigned long long x) { return *this = __nv_bfloat16(x); }

    operator float() const { return emulator::sixteen_bits::from_bfloat16(bits); }
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
    friend unsigned short __bfloat16_as_ushort(__nv_bfloat16 x);
    friend __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits);
};
using nv_bfloat16 = __nv_bfloat16;

// ------------------------------------------------------------------------------------------------ conversions

inline float __bfloat162float(__nv_bfloat16 x) { return float(x); }
inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
inline __nv_bfloat16 __double2bfloat16(double x) { return __nv_bfloat16(x); }
inline __nv_bfloat16 __int2bfloat16_rn(int x) { return __nv_bfloat16(x); }
inline __nv_bfloat16 __uint2bfloat16_rn(unsigned int x) { return __nv_bfloat16(x); }
inline int __bfloat162int_rz(__nv_bfloat16 x) { return int(x); }

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
    __nv_bfloat16 x;
    x.bits = bits;
    return x;
}

// ------------------------------------------------------------------------------- operators, each rounded once

// A double has more than twice the bits of a bfloat16: rounding its sums, differences, products and quotients again
// to bfloat16 gives the same as rounding the exact ones.
inline double __wide(__nv_bfloat16 x) { return float(x); }
inline __nv_bfloat16 operator+(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat16(__wide(a) + __wide(b)); }
inline __nv_bfloat16 operator-(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat16(__wide(a) - __wide(b)); }
inline __nv_bfloat16 operator*(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat16(__wide(a) * __wide(b)); }
inline __nv_bfloat16 operator/(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat16(__wide(a) / __wide(b)); }
inline __nv_bfloat16& operator+=(__nv_bfloat16& a, __nv_bfloat16 b) { return a = a + b; }
inline __nv_bfloat16& operator-=(__nv_bfloat16& a, __nv_bfloat16 b) { return a = a - b; }
inline __nv_bfloat16& operator*=(__nv_bfloat16& a, __nv_bfloat16 b) { return a = a * b; }
inline __nv_bfloat16& operator/=(__nv_bfloat16& a, __nv_bfloat16 b) { return a = a / b; }
inline __nv_bfloat16 operator+(__nv_bfloat16 a) { return a; }
inline __nv_bfloat16 operator-(__nv_bfloat16 a) { return __ushort_as_bfloat16(__bfloat16_as_ushort(a) ^ 0x8000); }

inline bool operator==(__nv_bfloat16 a, __nv_bfloat16 b) { return float(a) == float(b); }
inline bool operator!=(__nv_bfloat16 a, __nv_bfloat16 b) { return float(a) != float(b); }
inline bool operator<(__nv_bfloat16 a, __nv_bfloat16 b) { return float(a) < float(b); }
inline bool operator<=(__nv_bfloat16 a, __nv_bfloat16 b) { return float(a) <= float(b); }
inline bool operator>(__nv_bfloat16 a, __nv_bfloat16 b) { return float(a) > float(b); }
inline bool operator>=(__nv_bfloat16 a, __nv_bfloat16 b) { return float(a) >= float(b); }

// -------------------------------------------------------------------------------------- two numbers at once

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
    __nv_bfloat162() = default;
    __nv_bfloat162(const __nv_bfloat16& x, const __nv_bfloat16& y) : x(x), y(y) {}
};
using nv_bfloat162 = __nv_bfloat162;

inline __nv_bfloat162 make_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 x) { return {x, x}; }
inline __nv_bfloat162 __float2bfloat162_rn(float x) { return {__nv_bfloat16(x), __nv_bfloat16(x)}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {__nv_bfloat16(x), __nv_bfloat16(y)}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 pair) { return {__nv_bfloat16(pair.x), __nv_bfloat16(pair.y)}; }
inline float2 __bfloat1622float2(__nv_bfloat162 pair) { return {float(pair.x), float(pair.y)}; }
inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 pair) { return pair.x; }
inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 pair) { return pair.y; }
inline float __low2float(__nv_bfloat162 pair) { return float(pair.x); }
inline float __high2float(__nv_bfloat162 pair) { return float(pair.y); }

inline __nv_bfloat162 operator+(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x + b.x, a.y + b.y}; }
inline __nv_bfloat162 operator-(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x - b.x, a.y - b.y}; }
inline __nv_bfloat162 operator*(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x * b.x, a.y * b.y}; }
inline __nv_bfloat162 operator/(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x / b.x, a.y / b.y}; }

EMULATOR_SIXTEEN_BIT_ARITHMETIC(__nv_bfloat16, __nv_bfloat162)
inline __nv_bfloat162 __low2bfloat162(__nv_bfloat162 pair) { return {pair.x, pair.x}; }
inline __nv_bfloat162 __high2bfloat162(__nv_bfloat162 pair) { return {pair.y, pair.y}; }
inline __nv_bfloat162 __lows2bfloat162(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.x, b.x}; }
inline __nv_bfloat162 __highs2bfloat162(__nv_bfloat162 a, __nv_bfloat162 b) { return {a.y, b.y}; }

// ------------------------------------------------------------------------------------ from one to the other

inline __nv_bfloat16::__nv_bfloat16(__half x) : __nv_bfloat16(float(x)) {}
inline __half::__half(__nv_bfloat16 x) : __half(float(x)) {}
