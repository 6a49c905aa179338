// CUDA's cooperative_groups/reduce.h: the same result in all threads of a tile.  A GPU may add floats in another order.
#pragma once
#include "../cooperative_groups.h"

namespace cooperative_groups {

template <typename T> struct plus {
    T operator()(T a, T b) const { return a + b; }
};
template <typename T> struct less {
    T operator()(T a, T b) const { return b < a ? b : a; }
};
template <typename T> struct greater {
    T operator()(T a, T b) const { return a < b ? b : a; }
};
template <typename T> struct bit_and {
    T operator()(T a, T b) const { return a & b; }
};
template <typename T> struct bit_or {
    T operator()(T a, T b) const { return a | b; }
};
template <typename T> struct bit_xor {
    T operator()(T a, T b) const { return a ^ b; }
};

template <unsigned WIDTH, typename Parent, typename T, typename Combine>
inline T reduce(const thread_block_tile<WIDTH, Parent>& tile, T value, Combine combine,
                emulator::Place place = EMULATOR_CALLER) {
    for (unsigned distance = WIDTH / 2; distance > 0; distance /= 2) {
        value = combine(value, tile.shfl_xor(value, int(distance), place));
    }
    return value;
}

}  // namespace cooperative_groups
