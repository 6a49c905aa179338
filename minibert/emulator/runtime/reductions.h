// __reduce_add_sync and the like, printf, assert, __trap and clocks.
#pragma once
#include <cstdio>
#include <ctime>

#include "warps.h"

#pragma GCC visibility push(hidden)
namespace emulator {

inline unsigned thread_number() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

// The lanes in the mask that the block has.
inline unsigned lanes_in_block(unsigned mask) {
    unsigned after = blockDim.x * blockDim.y * blockDim.z - thread_number() / WARP_SIZE * WARP_SIZE;
    return after >= WARP_SIZE ? mask : mask & ((1u << after) - 1);
}

// Combines the values of the lanes in the mask, in the order of their numbers.
template <typename T, typename Combine> inline T reduce_lanes(unsigned mask, T value, Combine combine, Place place) {
    unsigned lanes = lanes_in_block(mask);
    T result{};
    for (bool first = true; lanes != 0; lanes &= lanes - 1, first = false) {
        T other = exchange_value(mask, value, unsigned(__builtin_ctz(lanes)), place);
        result = first ? other : T(combine(result, other));
    }
    return result;
}

}  // namespace emulator
#pragma GCC visibility pop

// As in CUDA, for unsigned and int only.  Sums wrap around.
#define EMULATOR_REDUCTION(name, type, expression)                                                       \
    inline type name(unsigned mask, type value, emulator::Place place = EMULATOR_CALLER) {               \
        return emulator::reduce_lanes(mask, value, [](type a, type b) { return expression; }, place);    \
    }
EMULATOR_REDUCTION(__reduce_add_sync, unsigned, a + b)
EMULATOR_REDUCTION(__reduce_add_sync, int, int(unsigned(a) + unsigned(b)))
EMULATOR_REDUCTION(__reduce_min_sync, unsigned, b < a ? b : a)
EMULATOR_REDUCTION(__reduce_min_sync, int, b < a ? b : a)
EMULATOR_REDUCTION(__reduce_max_sync, unsigned, a < b ? b : a)
EMULATOR_REDUCTION(__reduce_max_sync, int, a < b ? b : a)
EMULATOR_REDUCTION(__reduce_and_sync, unsigned, a & b)
EMULATOR_REDUCTION(__reduce_or_sync, unsigned, a | b)
EMULATOR_REDUCTION(__reduce_xor_sync, unsigned, a ^ b)
#undef EMULATOR_REDUCTION

[[noreturn]] inline void __trap(emulator::Place place = EMULATOR_CALLER) { emulator::trap(place); }

// Nanoseconds: they grow while a kernel runs, and say nothing about a GPU's cycles.  (clock() is the C library's.)
inline long long clock64() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}
