// The layout of shared memory.
//
// Dynamic shared memory begins at a fixed place; the arrays that are declared with a size follow, each at a multiple of
// 128 bytes and with a gap before it, so that an overrun of one array does not reach the next.  Nothing of one block
// is left for the next: all of it is filled with POISON again.
#pragma once
#include "failures.h"

namespace emulator {

constexpr size_t GAP = 1024;
constexpr size_t ARENA_BYTES = MOST_SHARED + 2 * MOST_STATIC + 256 * GAP;

alignas(1024) char dynamic_shared[ARENA_BYTES];
uint64_t block_serial = 0;

constexpr unsigned MOST_SHARED_ARRAYS = 128;
static SharedArray* shared_arrays[MOST_SHARED_ARRAYS];  // of the current block
static unsigned shared_array_count;
static size_t arena_used, static_bytes;

void shared_array_begins(char* begin, size_t bytes, const SharedArray* array);  // for check mode

inline size_t round_up(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

void place_shared_array(SharedArray& array) {
    size_t begin = round_up(arena_used, SHARED_ALIGNMENT) + GAP;
    static_bytes += round_up(array.bytes, 16);
    if (static_bytes > MOST_STATIC) {
        fail(Kind::LAUNCH, {nullptr, 0}, "the shared arrays of a kernel have %zu bytes; those declared with a size may "
             "have %zu together: use dynamic shared memory", static_bytes, MOST_STATIC);
    }
    if (static_bytes + launch->dynamic_bytes > launch->most_shared) {
        fail(Kind::LAUNCH, {nullptr, 0}, "a block needs %zu bytes of shared memory, %zu of them dynamic; it may have %zu "
             "(more must be asked for with max_dynamic_shared_size_bytes)", static_bytes + launch->dynamic_bytes,
             launch->dynamic_bytes, launch->most_shared);
    }
    if (shared_array_count == MOST_SHARED_ARRAYS) fail(Kind::LAUNCH, {nullptr, 0}, "too many shared arrays");
    array.block = block_serial;
    array.address = dynamic_shared + begin;
    arena_used = begin + array.bytes;
    shared_arrays[shared_array_count++] = &array;
    std::memset(array.address, POISON, array.bytes);
    shared_array_begins(array.address, array.bytes, &array);
}

inline void begin_shared_memory() {
    block_serial++;
    shared_array_count = 0;
    static_bytes = 0;
    arena_used = launch->dynamic_bytes;
    std::memset(dynamic_shared, POISON, launch->dynamic_bytes);
    shared_array_begins(dynamic_shared, launch->dynamic_bytes, nullptr);
}

}  // namespace emulator
