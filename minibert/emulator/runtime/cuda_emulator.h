// CUDA C++ on a CPU: included before a kernel's source, so that g++ and clang++ compile it.
//
//     device.h          qualifiers, vector types, threadIdx and the like
//     warps.h           barriers, shuffles, votes; the warp operations that headers such as mma.h need
//     atomics.h         atomicAdd and the like
//     shared_memory.h   what a `__shared__` declaration is turned into
//     numbers.h         numeric functions that CUDA has and C++ lacks
//     reductions.h      __reduce_add_sync and the like, printf, assert, __trap, clock64
//     kernel_table.h    how the launcher finds a kernel and its parameters
//
// The names that kernels use are CUDA's; all others are in namespace `emulator`.  The functions that are only declared
// here are defined in runtime.cpp, which is compiled once and linked to every kernel.
#pragma once

#undef NDEBUG  // which ziglang defines: nvcc compiles assertions unless the source defines it
#define MINIBERT_EMULATOR 1  // for sources with alternatives for the emulator, to PTX instructions for example

#include "device.h"
#include "warps.h"
#include "atomics.h"
#include "shared_memory.h"
#include "numbers.h"
#include "reductions.h"
#include "kernel_table.h"
