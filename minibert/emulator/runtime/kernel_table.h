// How the launcher finds the kernels of a file, their parameters, and how to call them.
//
// source.py appends a table of them to the source:
//     EMULATOR_KERNELS(emulator::describe("scale<float>", &scale<float>), ...)
#pragma once
#include <type_traits>
#include <utility>

#include "device.h"

struct __half;
struct __nv_bfloat16;

namespace emulator {

// One parameter.  dtype is NumPy's name for a number of that type, or of what a pointer points to; "" for other types.
struct Parameter {
    const char* type;
    const char* dtype;
    size_t bytes;
    int is_pointer, is_constant;
};

struct Kernel {
    const char* name;
    void (*call)(const Kernel& kernel, void** arguments);  // arguments[i]: the address of the value of parameter i
    void (*function)();                                    // cast from another type, which `call` knows
    int count;
    const Parameter* parameters;
};

template <typename T> constexpr const char* dtype_of = "";
template <> inline constexpr const char* dtype_of<bool> = "bool";
template <> inline constexpr const char* dtype_of<char> = "int8";
template <> inline constexpr const char* dtype_of<signed char> = "int8";
template <> inline constexpr const char* dtype_of<unsigned char> = "uint8";
template <> inline constexpr const char* dtype_of<short> = "int16";
template <> inline constexpr const char* dtype_of<unsigned short> = "uint16";
template <> inline constexpr const char* dtype_of<int> = "int32";
template <> inline constexpr const char* dtype_of<unsigned> = "uint32";
template <> inline constexpr const char* dtype_of<long> = "int64";
template <> inline constexpr const char* dtype_of<unsigned long> = "uint64";
template <> inline constexpr const char* dtype_of<long long> = "int64";
template <> inline constexpr const char* dtype_of<unsigned long long> = "uint64";
template <> inline constexpr const char* dtype_of<float> = "float32";
template <> inline constexpr const char* dtype_of<double> = "float64";
template <> inline constexpr const char* dtype_of<__half> = "float16";
template <> inline constexpr const char* dtype_of<__nv_bfloat16> = "bfloat16";
// vectors: in Python, an array of their elements
template <> inline constexpr const char* dtype_of<float2> = "float32";
template <> inline constexpr const char* dtype_of<float4> = "float32";
template <> inline constexpr const char* dtype_of<double2> = "float64";
template <> inline constexpr const char* dtype_of<int2> = "int32";
template <> inline constexpr const char* dtype_of<int4> = "int32";
template <> inline constexpr const char* dtype_of<uint2> = "uint32";
template <> inline constexpr const char* dtype_of<uint4> = "uint32";

// The compiler's name for this function, which contains the name of T: "... [with T = const float*]".
template <typename T> constexpr const char* type_text() { return __PRETTY_FUNCTION__; }

template <typename P> constexpr Parameter parameter() {
    using Target = std::remove_pointer_t<P>;
    return {type_text<P>(), dtype_of<std::remove_cv_t<Target>>, sizeof(P), std::is_pointer<P>::value,
            std::is_pointer<P>::value && std::is_const<Target>::value};
}

template <typename... P> struct Entry {
    static constexpr Parameter parameters[] = {parameter<std::remove_cv_t<P>>()..., {"", "", 0, 0, 0}};

    template <size_t... I>
    EMULATOR_UNCHECKED static void call_with(const Kernel& kernel, void** arguments, std::index_sequence<I...>) {
        auto function = reinterpret_cast<void (*)(P...)>(kernel.function);
        function(*static_cast<std::remove_cv_t<P>*>(arguments[I])...);
    }
    EMULATOR_UNCHECKED static void call(const Kernel& kernel, void** arguments) {
        call_with(kernel, arguments, std::index_sequence_for<P...>{});
    }
};

// The kernel is an argument, so that overload resolution picks the function that returns void.
template <typename... P> Kernel describe(const char* name, void (*kernel)(P...)) {
    return {name, &Entry<P...>::call, reinterpret_cast<void (*)()>(kernel), int(sizeof...(P)), Entry<P...>::parameters};
}

}  // namespace emulator

#define EMULATOR_KERNELS(...)                                                                             \
    extern "C" __attribute__((visibility("default"))) const emulator::Kernel emulator_kernels[] = {      \
        __VA_ARGS__ {nullptr, nullptr, nullptr, 0, nullptr}};
