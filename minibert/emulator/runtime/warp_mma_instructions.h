// The PTX instructions that warp_mma.cuh uses, as functions: ldmatrix, mma.sync m16n8k16, cp.async and two others.
//
// Which lane holds which element is as specified by the PTX ISA ("Matrix fragments for mma.m16n8k16").  ldmatrix and
// mma.sync are warp-wide: all 32 lanes must take part, and they do not order memory.  A device may perform a cp.async
// copy at any time between the request and the wait for it.  Here the target is poisoned at once, and receives the
// data as late as possible: a thread that still needed the old contents, or that reads too early, finds NaN.
#pragma once
#include "mma.h"

namespace emulator::tensor_cores {

// One 16-bit element; row n is the 16 bytes that lane n of the warp has written for all.
EMULATOR_UNCHECKED inline uint16_t element(const Room& room, unsigned row, unsigned column) {
    uint16_t bits;
    std::memcpy(&bits, room.tile + row * 16 + column * 2, sizeof bits);
    return bits;
}

EMULATOR_UNCHECKED inline void take_matrices(unsigned (&to)[4], const Room& room, bool transposed) {
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    for (unsigned i = 0; i < 4; i++) {
        uint16_t low = transposed ? element(room, 8 * i + 2 * t, g) : element(room, 8 * i + g, 2 * t);
        uint16_t high = transposed ? element(room, 8 * i + 2 * t + 1, g) : element(room, 8 * i + g, 2 * t + 1);
        to[i] = unsigned(high) << 16 | low;
    }
}

EMULATOR_UNCHECKED inline void demand_alignment(const void* address, const char* what, Place place) {
    unsigned beyond = reinterpret_cast<uintptr_t>(address) % 16;
    if (beyond != 0)
        fail(Kind::MISALIGNED, place, "%s takes an address at a multiple of 16 bytes: this one is %u beyond one", what,
             beyond);
}

// The two 16-bit numbers of a register.
template <typename T> EMULATOR_UNCHECKED void unpack(float* to, unsigned bits) {
    T both[2];
    std::memcpy(static_cast<void*>(both), &bits, sizeof bits);
    to[0] = float(both[0]), to[1] = float(both[1]);
}

// product [16, 8] = left [16, 16] right [16, 8], added to a lane's four sums.
template <typename T>
EMULATOR_UNCHECKED void add_fragments(float* sums, const unsigned* left, unsigned right0, unsigned right1, Place place) {
    Room& room = enter(place);
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    for (unsigned i = 0; i < 4; i++) unpack<T>(room.a + (g + i % 2 * 8) * 16 + i / 2 * 8 + 2 * t, left[i]);
    for (unsigned i = 0; i < 2; i++) {
        float both[2];
        unpack<T>(both, i == 0 ? right0 : right1);
        for (unsigned k = 0; k < 2; k++) room.b[(8 * i + 2 * t + k) * 8 + g] = both[k];
    }
    if (++room.arrived == WARP_SIZE) {
        multiply<16, 8, 16>(room);
        room.arrived = 0;
    }
    warp_barrier(0xffffffffu, place, false);
    for (unsigned i = 0; i < 4; i++) sums[i] += room.product[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
}

// ----------------------------------------------------------------------------------------------------- cp.async

struct Copy {
    void* to;
    const void* from;
    unsigned group;
};

// Copies that a thread has requested and not waited for, in a ring; `group` is the open one.  A block starts with none.
constexpr unsigned MOST_COPIES = 256, MOST_THREADS = 1024;
struct Copies {
    uint3 block;
    unsigned first, last, group;
    Copy ring[MOST_COPIES];
};
static Copies copies_of_threads[MOST_THREADS];

EMULATOR_UNCHECKED inline Copies& copies_of_thread() {
    Copies& copies = copies_of_threads[(threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x];
    uint3& block = copies.block;
    if (block.x != blockIdx.x + 1 || block.y != blockIdx.y || block.z != blockIdx.z) {
        block.x = blockIdx.x + 1, block.y = blockIdx.y, block.z = blockIdx.z;
        copies.first = copies.last = copies.group = 0;
    }
    return copies;
}

EMULATOR_UNCHECKED inline void ask_for_copy(void* to, const void* from, Place place) {
    Copies& copies = copies_of_thread();
    if (copies.last - copies.first == MOST_COPIES)
        fail(Kind::LAUNCH, place, "a thread of the emulator has no room for more than %u copies at a time", MOST_COPIES);
    Copy& copy = copies.ring[copies.last++ % MOST_COPIES];
    copy.to = to, copy.from = from, copy.group = copies.group;
}

EMULATOR_UNCHECKED inline void close_group() { copies_of_thread().group++; }

// The next copy that must be done before no more than `remaining` closed groups are left; false if there is none.
EMULATOR_UNCHECKED inline bool next_copy(unsigned remaining, void*& to, const void*& from) {
    Copies& copies = copies_of_thread();
    if (copies.first == copies.last) return false;
    Copy& copy = copies.ring[copies.first % MOST_COPIES];
    if (copy.group + remaining >= copies.group) return false;
    copies.first++;
    to = copy.to, from = copy.from;
    return true;
}

}  // namespace emulator::tensor_cores

// ---------------------------------------------------------------------------------------- the names of the kernels

template <bool TRANSPOSED>
__forceinline__ void load_matrices(unsigned (&to)[4], const void* row, emulator::Place place = EMULATOR_CALLER) {
    namespace cores = emulator::tensor_cores;
    cores::demand_alignment(row, "ldmatrix", place);
    cores::Room& room = cores::enter(place);
    cores::put(reinterpret_cast<cores::Piece*>(room.tile) + emulator::lane_id(), *static_cast<const cores::Piece*>(row));
    emulator::warp_barrier(0xffffffffu, place, false);
    cores::take_matrices(to, room, TRANSPOSED);
}

template <typename S, typename L, typename T>
__forceinline__ void multiply_add(S& sums, const L& left, unsigned right0, unsigned right1, T,
                                  emulator::Place place = EMULATOR_CALLER) {
    emulator::tensor_cores::add_fragments<T>(sums.at, left.at, right0, right1, place);
}

template <typename T> __forceinline__ unsigned packed(float first, float second, T) {
    T both[2] = {T(first), T(second)};
    unsigned bits;
    std::memcpy(&bits, static_cast<const void*>(both), sizeof bits);
    return bits;
}

__forceinline__ void copy_async(void* to, const void* from, emulator::Place place = EMULATOR_CALLER) {
    emulator::tensor_cores::demand_alignment(to, "cp.async", place);
    emulator::tensor_cores::demand_alignment(from, "cp.async", place);
    *static_cast<emulator::tensor_cores::Piece*>(to) = ~emulator::tensor_cores::Piece(0);
    emulator::tensor_cores::ask_for_copy(to, from, place);
}

__forceinline__ void commit_copies() { emulator::tensor_cores::close_group(); }

template <int REMAINING> __forceinline__ void wait_copies() {
    using Piece = emulator::tensor_cores::Piece;
    void* to;
    const void* from;
    while (emulator::tensor_cores::next_copy(REMAINING, to, from))
        *static_cast<Piece*>(to) = from == nullptr ? Piece(0) : *static_cast<const Piece*>(from);
}

__forceinline__ float power_of_two(float x) { return exp2f(x); }
