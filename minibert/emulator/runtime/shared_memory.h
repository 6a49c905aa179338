// Shared memory.  Before a kernel is compiled, source.py rewrites its declarations:
//
//     __shared__ float tile[32][33];     struct emulator_shared_tile { float tile[32][33]; };
//                                        auto& tile = emulator::static_shared<emulator_shared_tile>("tile", 4).tile;
//
//     extern __shared__ float room[];    float* const room = reinterpret_cast<float*>(emulator::dynamic_shared);
//
// Each instance of a kernel template has its own struct, and so its own array.  All threads of a block get the same
// array; for the next block it is new, and filled with POISON.
#pragma once
#include "warps.h"

#pragma GCC visibility push(hidden)
namespace emulator {

constexpr size_t SHARED_ALIGNMENT = 128;       // one row of the 32 banks of four bytes
constexpr size_t MOST_SHARED = 227 * 1024;     // bytes that a block can have on the largest devices
constexpr size_t MOST_STATIC = 48 * 1024;      // bytes of those that can be declared with a size

// One __shared__ declaration, and its address in the current block.
struct SharedArray {
    const char* name;
    size_t bytes, element_bytes;
    uint64_t block;  // the block, as counted by block_serial, for which `address` is valid
    char* address;
};

extern uint64_t block_serial;  // grows with each block that runs
extern char dynamic_shared[];
void place_shared_array(SharedArray& array);

template <typename Declared> constexpr size_t element_bytes = sizeof(std::remove_all_extents_t<Declared>);

template <typename Declaration>
EMULATOR_UNCHECKED inline Declaration& static_shared(const char* name, size_t element_bytes) {
    static_assert(alignof(Declaration) <= SHARED_ALIGNMENT, "alignment of a __shared__ array");
    static SharedArray array = {name, sizeof(Declaration), element_bytes, 0, nullptr};
    if (array.block != block_serial) place_shared_array(array);
    return *reinterpret_cast<Declaration*>(array.address);
}

}  // namespace emulator
#pragma GCC visibility pop
