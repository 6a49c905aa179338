// Rounding to 16-bit numbers and back, for cuda_fp16.h and cuda_bf16.h.
//
//                sign  exponent  mantissa   largest      smallest normal   spacing at 1
//   float           1         8        23   3.4e38       1.2e-38           1.2e-7
//   half            1         5        10   65504        6.1e-5            9.8e-4
//   bfloat16        1         8         7   3.4e38       1.2e-38           7.8e-3
//
// Everything rounds to nearest, ties to even, and only once, even from double and from 64-bit integers.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace emulator::sixteen_bits {

constexpr uint32_t MAGNITUDE = 0x7fffffff;  // of a float: all bits but the sign
constexpr uint32_t INFINITE = 0x7f800000;   // a float's infinity; greater magnitudes are NaN

inline uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// Rounds a double to odd: to the adjacent float whose last bit is 1, or exactly if it is a float already.  Half and
// bfloat16 have at least two bits fewer than a float.  A float with an odd last bit is neither one of them nor halfway
// between two of them, so rounding it again gives the same as rounding the double directly.
inline float to_odd(double x) {
    float nearest = static_cast<float>(x);
    uint32_t bits = bits_of(nearest);
    bool exact = static_cast<double>(nearest) == x || std::isnan(x);
    if (exact || bits % 2 == 1) return nearest;
    return float_of(std::fabs(nearest) < std::fabs(x) ? bits + 1 : bits - 1);
}

// An integer as a double.  53 bits fit; for larger integers, the bits that are cut off set a sticky last bit, which
// is far below the precision of any 16-bit number.
template <typename Integer> double exactly(Integer value) {
    if constexpr (sizeof(Integer) <= 4) return static_cast<double>(value);
    bool negative = value < 0;
    uint64_t magnitude = negative ? uint64_t(0) - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    if (magnitude >> 53 != 0) {
        uint64_t cut_off = magnitude & 0x7ff;
        magnitude = (magnitude - cut_off) | (cut_off != 0 ? 0x800 : 0);
    }
    return negative ? -static_cast<double>(magnitude) : static_cast<double>(magnitude);
}

// Drops the last bits: rounds to nearest, ties to even.
template <int BITS> uint32_t without_last(uint32_t value) {
    uint32_t is_odd = value >> BITS & 1;
    return (value + (1u << (BITS - 1)) - 1 + is_odd) >> BITS;
}

inline uint16_t half_from(float x) {
    uint32_t sign = bits_of(x) >> 16 & 0x8000, magnitude = bits_of(x) & MAGNITUDE;
    if (magnitude > INFINITE) return 0x7fff;                            // the one NaN that the GPU produces
    if (magnitude >= bits_of(65520.0f)) return sign | 0x7c00;           // would round to 65536: infinity
    if (magnitude < bits_of(6.103515625e-5f)) {                         // below 2^-14 halves are multiples of 2^-24,
        uint32_t shifted = bits_of(float_of(magnitude) + 0.5f);         // and so are the floats just above 0.5
        return sign | (shifted - bits_of(0.5f));
    }
    uint32_t rebiased = magnitude - ((127 - 15) << 23);                 // exponents count from -15, not from -127
    return sign | without_last<23 - 10>(rebiased);
}

inline float from_half(uint16_t half) {
    uint32_t sign = (half & 0x8000u) << 16, magnitude = (half & 0x7fffu) << 13;
    if (magnitude >= 0x7c00u << 13) return float_of(sign | INFINITE | magnitude);  // infinity, NaN
    const float rebias = 5.192296858534828e33f;                                    // 2^(127 - 15)
    return float_of(sign | bits_of(float_of(magnitude) * rebias));
}

inline uint16_t bfloat16_from(float x) {
    if ((bits_of(x) & MAGNITUDE) > INFINITE) return 0x7fff;
    return without_last<23 - 7>(bits_of(x));
}

inline float from_bfloat16(uint16_t bfloat16) { return float_of(uint32_t(bfloat16) << 16); }

// A float truncated to an integer as on the GPU: saturated if it is out of range; NaN gives 0, or, in
// 64 bits, the highest bit alone.
template <typename Integer> Integer cut_to(float x) {
    using Limits = std::numeric_limits<Integer>;
    if (std::isnan(x)) return sizeof(Integer) < 8 ? 0 : static_cast<Integer>(uint64_t(1) << 63);
    if (x <= static_cast<float>(Limits::min())) return Limits::min();
    if (x >= static_cast<float>(Limits::max())) return Limits::max();
    return static_cast<Integer>(x);
}

}  // namespace emulator::sixteen_bits
