// Barriers, shuffles and votes: where the threads of a block or a warp wait for each other.
#pragma once
#include <type_traits>

#include "device.h"

#pragma GCC visibility push(hidden)
namespace emulator {

constexpr unsigned char POISON = 0xff;  // fills uninitialised memory: NaN in every float type, -1 in integers
constexpr unsigned WARP_SIZE = 32;

// A place in the source.  A function that has `Place place = EMULATOR_CALLER` as its last parameter learns where it
// was called from.
struct Place {
    const char* file;
    int line;
};
// (Through a function: for a Place{...} written as a default argument, g++ gives the place of the declaration.)
constexpr Place caller(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
#define EMULATOR_CALLER ::emulator::caller()

// What a kernel can do wrong.  The numbers are those in errors.py.
enum class Kind : int {
    NOTHING, RACE, OUT_OF_BOUNDS, UNINITIALISED, DIVERGENCE, MISALIGNED, LAUNCH, ARITHMETIC, ENDLESS, INTERRUPTED,
    ASSERTION, TRAP
};

// Ends the launch with an error in the current thread; text and what follows are as in printf.
[[noreturn]] void fail(Kind kind, Place place, const char* text, ...) __attribute__((format(printf, 3, 4)));

// End the launch, or, if the host's code calls them, the program.
[[noreturn]] void assertion_fails(const char* condition, Place place);
[[noreturn]] void trap(Place place);

// ----------------------------------------------------------- primitives for the headers of warp-wide operations

// The number of this thread in its warp.
unsigned lane_id();

// Waits until all lanes in the mask have arrived at the same place in the source.  orders_memory: whether what a lane
// wrote before it can be read by the others after it (true of __syncwarp, not of shuffles and tensor cores).
void warp_barrier(unsigned mask, Place place, bool orders_memory);

// Scratch memory that the lanes of a warp share, aligned to 128 bytes, zeroed when a block begins, and not checked.
constexpr size_t WARP_SCRATCH_BYTES = 32 * 1024;
void* warp_scratch();

// ------------------------------------------------------------------------------------------------ built on those

void block_barrier(Place place);
unsigned block_vote(bool yes, Place place);

// Each lane in the mask hands over eight bytes, and gets those of lane `source`.
uint64_t exchange(unsigned mask, uint64_t bits, unsigned source, Place place);

// Each lane in the mask votes yes or no; all get a mask with a bit for each lane that voted yes.
unsigned vote(unsigned mask, bool yes, Place place);

// The lanes in the mask that passed the same bits as this one.
unsigned lanes_alike(unsigned mask, uint64_t bits, Place place);

unsigned active_lanes();

template <typename T> inline T exchange_value(unsigned mask, T value, unsigned source, Place place) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable<T>::value, "a shuffle moves plain values of 8 bytes at most");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = exchange(mask, bits, source, place);
    std::memcpy(static_cast<void*>(&value), &bits, sizeof(T));
    return value;
}

}  // namespace emulator
#pragma GCC visibility pop

// ---------------------------------------------------------------------------------------------- CUDA's own names

inline void __syncthreads(emulator::Place place = EMULATOR_CALLER) { emulator::block_barrier(place); }

inline void __syncwarp(unsigned mask = 0xffffffffu, emulator::Place place = EMULATOR_CALLER) {
    emulator::warp_barrier(mask, place, true);
}

// Shuffles divide a warp into groups of `width` lanes, a power of two; a lane whose source is outside its group
// gets its own value back.

template <typename T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, emulator::Place place = EMULATOR_CALLER) {
    unsigned group = emulator::lane_id() & ~unsigned(width - 1);
    return emulator::exchange_value(mask, value, group + (unsigned(source) & unsigned(width - 1)), place);
}

template <typename T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                        emulator::Place place = EMULATOR_CALLER) {
    unsigned lane = emulator::lane_id();
    bool inside = (lane & unsigned(width - 1)) >= distance;
    return emulator::exchange_value(mask, value, inside ? lane - distance : lane, place);
}

template <typename T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                          emulator::Place place = EMULATOR_CALLER) {
    unsigned lane = emulator::lane_id();
    bool inside = (lane & unsigned(width - 1)) + distance < unsigned(width);
    return emulator::exchange_value(mask, value, inside ? lane + distance : lane, place);
}

// A lane may read from its own group and from those before it.
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                         emulator::Place place = EMULATOR_CALLER) {
    unsigned lane = emulator::lane_id(), source = lane ^ unsigned(lane_mask);
    bool inside = source < (lane & ~unsigned(width - 1)) + unsigned(width);
    return emulator::exchange_value(mask, value, inside ? source : lane, place);
}

inline unsigned __ballot_sync(unsigned mask, int yes, emulator::Place place = EMULATOR_CALLER) {
    return emulator::vote(mask, yes != 0, place);
}
inline int __any_sync(unsigned mask, int yes, emulator::Place place = EMULATOR_CALLER) {
    return emulator::vote(mask, yes != 0, place) != 0;
}
inline int __all_sync(unsigned mask, int yes, emulator::Place place = EMULATOR_CALLER) {
    return emulator::vote(mask, yes == 0, place) == 0;
}
template <typename T>
inline unsigned __match_any_sync(unsigned mask, T value, emulator::Place place = EMULATOR_CALLER) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "__match_any_sync compares values of 4 or 8 bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return emulator::lanes_alike(mask, bits, place);
}
inline unsigned __activemask() { return emulator::active_lanes(); }

// A barrier that counts the threads of the block that voted yes.
inline int __syncthreads_count(int yes, emulator::Place place = EMULATOR_CALLER) {
    return int(emulator::block_vote(yes != 0, place));
}
inline int __syncthreads_or(int yes, emulator::Place place = EMULATOR_CALLER) {
    return emulator::block_vote(yes != 0, place) != 0;
}
inline int __syncthreads_and(int yes, emulator::Place place = EMULATOR_CALLER) {
    return emulator::block_vote(yes == 0, place) == 0;
}
