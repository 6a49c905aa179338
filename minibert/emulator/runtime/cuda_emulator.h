// CUDA C++ on a CPU: what is included before a kernel's source, so that g++ and clang++ compile it.
//
//     device.h          qualifiers, vector types, threadIdx and its like
//     warps.h           barriers, shuffles, votes; what headers such as mma.h need of a warp
//     atomics.h         atomicAdd and its like
//     shared_memory.h   what a `__shared__` declaration is turned into
//     numbers.h         functions of numbers that CUDA has and C++ has not
//     kernel_table.h    how the launcher finds a kernel and its parameters
//
// The names that kernels use are CUDA's; all others are in namespace `emulator`.  The functions that are only declared
// here are defined in runtime.cpp, which is compiled once and linked to every kernel.
#pragma once

#define MINIBERT_EMULATOR 1  // for sources that have something else for the emulator: instructions of PTX, say

#include "device.h"
#include "warps.h"
#include "atomics.h"
#include "shared_memory.h"
#include "numbers.h"
#include "kernel_table.h"
