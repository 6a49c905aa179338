// How check mode learns what a kernel does: the compiler is told to look for races and undefined behaviour
// (-fsanitize=thread,...), and inserts calls to these functions into the kernel.  Usually they come from a library that
// ships with the compiler and watches a whole process; here they are ours, and watch the threads of a kernel.
#pragma once
#include "accesses.h"

#define EMULATOR_CALL_ADDRESS __builtin_return_address(0)

// ------------------------------------------------------------------------------- -fsanitize=thread: every access

// The frequent ones are specialised by size.
#define EMULATOR_ACCESS(bytes)                                                                              \
    void __tsan_read##bytes(void* address) {                                                                \
        emulator::check_any_access(address, bytes, false, false, EMULATOR_CALL_ADDRESS);                    \
    }                                                                                                       \
    void __tsan_write##bytes(void* address) {                                                               \
        emulator::check_any_access(address, bytes, true, false, EMULATOR_CALL_ADDRESS);                     \
    }                                                                                                       \
    void __tsan_unaligned_read##bytes(void* address) {                                                      \
        emulator::check_access(address, bytes, false, false, EMULATOR_CALL_ADDRESS);                        \
    }                                                                                                       \
    void __tsan_unaligned_write##bytes(void* address) {                                                     \
        emulator::check_access(address, bytes, true, false, EMULATOR_CALL_ADDRESS);                         \
    }

extern "C" {
EMULATOR_ACCESS(1)
EMULATOR_ACCESS(2)
EMULATOR_ACCESS(4)
EMULATOR_ACCESS(8)
EMULATOR_ACCESS(16)

void __tsan_read_range(void* p, size_t bytes) {
    if (bytes > 0) emulator::check_access(p, bytes, false, false, EMULATOR_CALL_ADDRESS);
}
void __tsan_write_range(void* p, size_t bytes) {
    if (bytes > 0) emulator::check_access(p, bytes, true, false, EMULATOR_CALL_ADDRESS);
}
// clang calls these for copies of whole objects
void* __tsan_memcpy(void* to, void* from, size_t bytes) {
    if (bytes > 0) emulator::check_access(from, bytes, false, false, EMULATOR_CALL_ADDRESS);
    if (bytes > 0) emulator::check_access(to, bytes, true, false, EMULATOR_CALL_ADDRESS);
    return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, void* from, size_t bytes) {
    if (bytes > 0) emulator::check_access(from, bytes, false, false, EMULATOR_CALL_ADDRESS);
    if (bytes > 0) emulator::check_access(to, bytes, true, false, EMULATOR_CALL_ADDRESS);
    return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
    if (bytes > 0) emulator::check_access(to, bytes, true, false, EMULATOR_CALL_ADDRESS);
    return std::memset(to, value, bytes);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}

// -------------------------------------------------- -------- -fsanitize=undefined: just before undefined behaviour

namespace emulator {

// What the compiler passes, in the layout that GCC and clang agree on.
struct SourceLocation {
    const char* file;
    uint32_t line, column;
};
struct TypeDescription {
    uint16_t kind, info;  // kind 0: an integer; info: lowest bit 1 if it is signed, the others log2 of its width
    char name[1];
};
struct MisalignedData {
    SourceLocation location;
    const TypeDescription* type;
    unsigned char log2_of_alignment, check;
};
struct IndexData {
    SourceLocation location;
    const TypeDescription *array, *index;
};
struct NumberData {
    SourceLocation location;
    const TypeDescription* type;
};
struct ShiftData {
    SourceLocation location;
    const TypeDescription *left, *right;
};

inline long long value_of(const TypeDescription& type, size_t value) {
    unsigned bits = 1u << (type.info >> 1);
    if (type.kind != 0 || bits >= 64) return (long long)(value);
    size_t low = value & ((size_t(1) << bits) - 1);
    bool negative = (type.info & 1) && (low >> (bits - 1) & 1);
    return (long long)(negative ? low - (size_t(1) << bits) : low);
}

[[noreturn]] __attribute__((format(printf, 4, 5)))
inline void fail_at(Kind kind, const SourceLocation& location, const void* counter, const char* text, ...) {
    va_list values;
    va_start(values, text);
    const char* slash = std::strrchr(location.file, '/');
    write_report(report, kind, {slash ? slash + 1 : location.file, int(location.line)}, text, values);
    va_end(values);
    report.counter = library_offset(counter);
    stop();
    abandon_thread();
}

[[noreturn]] inline void fail_overflow(void* data, const char* operation, size_t left, size_t right, const void* counter) {
    const NumberData& number = *static_cast<NumberData*>(data);
    fail_at(Kind::ARITHMETIC, number.location, counter, "%lld %s %lld does not fit in %s", value_of(*number.type, left),
            operation, value_of(*number.type, right), number.type->name);
}

}  // namespace emulator

extern "C" {
void __ubsan_handle_type_mismatch_v1_abort(void* data, size_t address) {
    const auto& details = *static_cast<emulator::MisalignedData*>(data);
    size_t alignment = size_t(1) << details.log2_of_alignment;
    emulator::fail_at(emulator::Kind::MISALIGNED, details.location, EMULATOR_CALL_ADDRESS,
                      "an address of %s must be a multiple of %zu bytes; this one is %zu beyond", details.type->name,
                      alignment, address % alignment);
}
void __ubsan_handle_out_of_bounds_abort(void* data, size_t index) {
    const auto& details = *static_cast<emulator::IndexData*>(data);
    emulator::fail_at(emulator::Kind::OUT_OF_BOUNDS, details.location, EMULATOR_CALL_ADDRESS,
                      "index %lld of an array of type %s", emulator::value_of(*details.index, index),
                      details.array->name);
}
void __ubsan_handle_add_overflow_abort(void* data, size_t left, size_t right) {
    emulator::fail_overflow(data, "+", left, right, EMULATOR_CALL_ADDRESS);
}
void __ubsan_handle_sub_overflow_abort(void* data, size_t left, size_t right) {
    emulator::fail_overflow(data, "-", left, right, EMULATOR_CALL_ADDRESS);
}
void __ubsan_handle_mul_overflow_abort(void* data, size_t left, size_t right) {
    emulator::fail_overflow(data, "*", left, right, EMULATOR_CALL_ADDRESS);
}
void __ubsan_handle_negate_overflow_abort(void* data, size_t value) {
    emulator::fail_overflow(data, "-", 0, value, EMULATOR_CALL_ADDRESS);
}
void __ubsan_handle_divrem_overflow_abort(void* data, size_t left, size_t right) {
    const auto& details = *static_cast<emulator::NumberData*>(data);
    if (emulator::value_of(*details.type, right) != 0) {
        emulator::fail_overflow(data, "/", left, right, EMULATOR_CALL_ADDRESS);
    }
    emulator::fail_at(emulator::Kind::ARITHMETIC, details.location, EMULATOR_CALL_ADDRESS, "integer division by zero");
}
void __ubsan_handle_shift_out_of_bounds_abort(void* data, size_t left, size_t right) {
    const auto& details = *static_cast<emulator::ShiftData*>(data);
    emulator::fail_at(emulator::Kind::ARITHMETIC, details.location, EMULATOR_CALL_ADDRESS,
                      "%lld of type %s shifted by %lld bits", emulator::value_of(*details.left, left), details.left->name,
                      emulator::value_of(*details.right, right));
}
void __ubsan_handle_builtin_unreachable(void* data) {
    emulator::fail_at(emulator::Kind::ARITHMETIC, *static_cast<emulator::SourceLocation*>(data), EMULATOR_CALL_ADDRESS,
                      "__builtin_unreachable was reached");
}
void __ubsan_handle_missing_return(void* data) {
    emulator::fail_at(emulator::Kind::ARITHMETIC, *static_cast<emulator::SourceLocation*>(data), EMULATOR_CALL_ADDRESS,
                      "a function ends without returning its value");
}
}
