// The Philox4x32-10 generator of CUDA's curand_kernel.h: the same bits as cuRAND's.
//
// The generator encrypts a 128-bit counter with the 64-bit seed as its key (Salmon et al. 2011, "Parallel random numbers:
// as easy as 1, 2, 3"); each counter gives four numbers.  The upper half of the counter is the subsequence.  The other
// generators of cuRAND are refused (see unsupported.py).
#pragma once
#include <cmath>
#include <cstdint>

#include "device.h"

struct curandStatePhilox4_32_10 {
    uint4 counter;
    uint2 key;
    uint4 numbers;    // of the counter
    unsigned used;    // how many of them have been handed out
    float other;      // the second number of a pair of curand_normal
    bool has_other;
};
using curandStatePhilox4_32_10_t = curandStatePhilox4_32_10;

namespace emulator::philox {

inline uint4 encrypt(uint4 counter, uint2 key) {
    for (int round = 0; round < 10; round++) {
        uint64_t first = uint64_t(0xD2511F53u) * counter.x, second = uint64_t(0xCD9E8D57u) * counter.z;
        counter = {unsigned(second >> 32) ^ counter.y ^ key.x, unsigned(second),
                   unsigned(first >> 32) ^ counter.w ^ key.y, unsigned(first)};
        key = {key.x + 0x9E3779B9u, key.y + 0xBB67AE85u};
    }
    return counter;
}

inline void advance(curandStatePhilox4_32_10& state, uint64_t blocks) {
    uint64_t low = state.counter.x | uint64_t(state.counter.y) << 32;
    uint64_t high = state.counter.z | uint64_t(state.counter.w) << 32;
    if (low + blocks < low) high++;
    low += blocks;
    state.counter = {unsigned(low), unsigned(low >> 32), unsigned(high), unsigned(high >> 32)};
}

// In (0, 1]: 2^-32 x + 2^-33, with x first rounded to a float.
inline float uniform(unsigned x) { return float(x) * 0x1p-32f + 0x1p-33f; }

// Two normal numbers from two uniform ones (Box and Muller 1958); the sine is the first.
inline float2 normal_pair(unsigned x, unsigned y) {
    const float circle = 0x1p-32f * 6.2831855f;
    float angle = float(y) * circle + circle / 2, radius = sqrtf(-2.0f * logf(uniform(x)));
    return {radius * sinf(angle), radius * cosf(angle)};
}

}  // namespace emulator::philox

inline void skipahead(unsigned long long count, curandStatePhilox4_32_10_t* state) {
    unsigned used = state->used + unsigned(count % 4);
    emulator::philox::advance(*state, count / 4 + used / 4);
    state->used = used % 4;
    state->numbers = emulator::philox::encrypt(state->counter, state->key);
}

inline void curand_init(unsigned long long seed, unsigned long long subsequence, unsigned long long offset,
                        curandStatePhilox4_32_10_t* state) {
    state->counter = {0, 0, unsigned(subsequence), unsigned(subsequence >> 32)};
    state->key = {unsigned(seed), unsigned(seed >> 32)};
    state->used = 0;
    state->has_other = false;
    state->other = 0;
    skipahead(offset, state);
}

inline unsigned curand(curandStatePhilox4_32_10_t* state) {
    const unsigned numbers[] = {state->numbers.x, state->numbers.y, state->numbers.z, state->numbers.w};
    unsigned result = numbers[state->used];
    skipahead(1, state);
    return result;
}
inline uint4 curand4(curandStatePhilox4_32_10_t* state) {
    unsigned x = curand(state), y = curand(state), z = curand(state);
    return {x, y, z, curand(state)};
}

inline float curand_uniform(curandStatePhilox4_32_10_t* state) { return emulator::philox::uniform(curand(state)); }
inline float4 curand_uniform4(curandStatePhilox4_32_10_t* state) {
    using emulator::philox::uniform;
    uint4 bits = curand4(state);
    return {uniform(bits.x), uniform(bits.y), uniform(bits.z), uniform(bits.w)};
}

inline float2 curand_normal2(curandStatePhilox4_32_10_t* state) {
    unsigned x = curand(state);
    return emulator::philox::normal_pair(x, curand(state));
}
inline float4 curand_normal4(curandStatePhilox4_32_10_t* state) {
    float2 first = curand_normal2(state), second = curand_normal2(state);
    return {first.x, first.y, second.x, second.y};
}
// Numbers come in pairs: the second of a pair is kept for the next call.
inline float curand_normal(curandStatePhilox4_32_10_t* state) {
    if (state->has_other) {
        state->has_other = false;
        return state->other;
    }
    float2 pair = curand_normal2(state);
    state->has_other = true;
    state->other = pair.y;
    return pair.x;
}
