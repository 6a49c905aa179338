// Atomic operations: a read, a computation and a write in one step that no other thread can interrupt.
//
// Threads are fibers of one CPU thread, and none is interrupted between two operations that could wait.  So there is
// nothing to lock.  But check mode must know which accesses are atomic: atomic operations do not race with each other.
#pragma once
#include "warps.h"

#pragma GCC visibility push(hidden)
namespace emulator {

// Reports the access to check mode.
void atomic_access(void* address, size_t bytes, const void* program_counter);

// Reports the outcome.  A thread that has tried in vain for a while yields to others: it may be waiting for a lock.
void atomic_changed_nothing();
void atomic_changed_something();

void memory_fence();

}  // namespace emulator
#pragma GCC visibility pop

// Never inlined, so that the return address points into the kernel.
#define EMULATOR_ATOMIC __attribute__((noinline)) EMULATOR_UNCHECKED
#define EMULATOR_BEGIN_ATOMIC emulator::atomic_access(address, sizeof(T), __builtin_return_address(0))

namespace emulator {

template <typename T> constexpr bool atomic_type = (sizeof(T) == 4 || sizeof(T) == 8) && std::is_arithmetic<T>::value;

// address[0] = compute(address[0], operand); returns what was there
template <typename T, typename Compute>
EMULATOR_UNCHECKED inline T replace(T* address, Compute compute) {
    static_assert(atomic_type<T>, "atomic operations are for integers and floating point numbers of 4 or 8 bytes");
    T old = *address, now = compute(old);
    *address = now;
    if (now == old) atomic_changed_nothing();
    else atomic_changed_something();
    return old;
}

// Integers wrap around, as on the device.
template <typename T> EMULATOR_UNCHECKED inline T wrapping_sum(T a, T b) {
    if constexpr (std::is_integral<T>::value) return T(std::make_unsigned_t<T>(a) + std::make_unsigned_t<T>(b));
    else return a + b;
}
template <typename T> EMULATOR_UNCHECKED inline T wrapping_difference(T a, T b) {
    if constexpr (std::is_integral<T>::value) return T(std::make_unsigned_t<T>(a) - std::make_unsigned_t<T>(b));
    else return a - b;
}

// An argument of this type is converted to T, but T is not deduced from it: atomicAdd(&count, 1) works for unsigned.
template <typename T> using Operand = typename std::common_type<T>::type;

}  // namespace emulator

#define EMULATOR_ATOMIC_FUNCTION(name, expression)                                             \
    template <typename T> EMULATOR_ATOMIC T name(T* address, emulator::Operand<T> operand) {   \
        EMULATOR_BEGIN_ATOMIC;                                                                 \
        return emulator::replace(address, [operand](T old) EMULATOR_UNCHECKED { return T(expression); }); \
    }

EMULATOR_ATOMIC_FUNCTION(atomicAdd, emulator::wrapping_sum(old, operand))
EMULATOR_ATOMIC_FUNCTION(atomicSub, emulator::wrapping_difference(old, operand))
EMULATOR_ATOMIC_FUNCTION(atomicMax, old > operand ? old : operand)
EMULATOR_ATOMIC_FUNCTION(atomicMin, old < operand ? old : operand)
EMULATOR_ATOMIC_FUNCTION(atomicExch, operand)
EMULATOR_ATOMIC_FUNCTION(atomicAnd, old & operand)
EMULATOR_ATOMIC_FUNCTION(atomicOr, old | operand)
EMULATOR_ATOMIC_FUNCTION(atomicXor, old ^ operand)
EMULATOR_ATOMIC_FUNCTION(atomicInc, old >= operand ? T(0) : T(old + 1))
EMULATOR_ATOMIC_FUNCTION(atomicDec, old == 0 || old > operand ? operand : T(old - 1))
#undef EMULATOR_ATOMIC_FUNCTION

template <typename T>
EMULATOR_ATOMIC T atomicCAS(T* address, emulator::Operand<T> expected, emulator::Operand<T> operand) {
    EMULATOR_BEGIN_ATOMIC;
    return emulator::replace(address, [=](T old) EMULATOR_UNCHECKED { return old == expected ? operand : old; });
}

#undef EMULATOR_ATOMIC
#undef EMULATOR_BEGIN_ATOMIC

inline void __threadfence() { emulator::memory_fence(); }
inline void __threadfence_block() { emulator::memory_fence(); }
inline void __threadfence_system() { emulator::memory_fence(); }
