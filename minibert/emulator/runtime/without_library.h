// What the standard library headers need at run time, for a compiler that has that library only as source: see
// toolchains.py.
#pragma once
#ifdef EMULATOR_WITHOUT_LIBRARY
#include <cstddef>
#include <cstdlib>

void* operator new(size_t bytes) {
    void* memory = std::malloc(bytes != 0 ? bytes : 1);
    if (memory == nullptr) std::abort();
    return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

#endif
