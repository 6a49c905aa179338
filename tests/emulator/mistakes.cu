// One mistake in each kernel.  The line that the emulator must tell is marked with the kernel's name: // <- name
// (where two accesses are in conflict, with the one that comes second on the emulator, in forward order).

template <typename T> struct alignas(16) Four {
    T at[4];
};

// ------------------------------------------------------------------------------------------------------ races

__global__ void missing_barrier(float* x) {
    __shared__ float scratch[64];
    scratch[threadIdx.x] = x[threadIdx.x];  // <- missing_barrier
    x[threadIdx.x] = scratch[63 - threadIdx.x];
}

// The first barrier is there, the second is not: the next round writes what others still read.
__global__ void missing_second_barrier(float* x) {
    __shared__ float scratch[64];
    for (int round = 0; round < 2; round++) {
        scratch[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        x[threadIdx.x] = scratch[63 - threadIdx.x];  // <- missing_second_barrier
    }
}

__global__ void missing_warp_barrier(float* x) {
    __shared__ float scratch[32];
    scratch[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    float neighbour = scratch[threadIdx.x ^ 1];  // <- missing_warp_barrier
    scratch[threadIdx.x] = neighbour;
    __syncwarp();
    x[threadIdx.x] = scratch[threadIdx.x];
}

// A warp's barrier does not make other warps wait.
__global__ void warp_barrier_for_a_block(float* x) {
    __shared__ float scratch[64];
    scratch[threadIdx.x] = x[threadIdx.x];  // <- warp_barrier_for_a_block
    __syncwarp();
    x[threadIdx.x] = scratch[threadIdx.x ^ 32];
}

// A shuffle lets the lanes wait for each other, but orders nothing that they wrote.
__global__ void shuffle_as_barrier(float* x) {
    __shared__ float scratch[32];
    scratch[threadIdx.x] = x[threadIdx.x];
    __shfl_sync(0xffffffffu, 0, 0);
    x[threadIdx.x] = scratch[31 - threadIdx.x];  // <- shuffle_as_barrier
}

// The thread that writes was the last to read; but not the only one.
__global__ void read_by_all_lanes(float* x) {
    __shared__ float scratch[1];
    if (threadIdx.x == 0) scratch[0] = 1;
    __syncwarp();
    float value = scratch[0];
    if (threadIdx.x == 31) scratch[0] = value + 1;  // <- read_by_all_lanes
    x[threadIdx.x] = value;
}

__global__ void read_by_all_warps(float* x) {
    __shared__ float scratch[1];
    if (threadIdx.x == 0) scratch[0] = 1;
    __syncthreads();
    float value = scratch[0];
    __syncwarp();
    if (threadIdx.x == 63) scratch[0] = value + 1;  // <- read_by_all_warps
    x[threadIdx.x] = value;
}

__global__ void same_element(float* x) {
    x[0] = threadIdx.x;  // <- same_element
}

__global__ void across_blocks(float* x) {
    x[threadIdx.x] += 1;  // <- across_blocks
}

// Blocks have no order: what one wrote, another must not read.
__global__ void reads_another_block(float* x) {
    if (blockIdx.x == 0) x[threadIdx.x] = 1;
    if (blockIdx.x == 1) x[64 + threadIdx.x] = x[threadIdx.x];  // <- reads_another_block
}

// A barrier orders the reads of this block, but not those of the other.
__global__ void read_by_all_blocks(float* x) {
    float value = x[0];
    __syncthreads();
    if (blockIdx.x == 1 && threadIdx.x == 0) x[0] = value + 1;  // <- read_by_all_blocks
}

__global__ void not_atomic(int* x) {
    if (threadIdx.x == 0) x[0] = 5;
    else atomicAdd(x, 1);  // <- not_atomic
}

__global__ void atomic_then_plain(int* x) {
    atomicAdd(x, 1);  // <- atomic_then_plain
    x[1 + threadIdx.x] = x[0];
}

// Half a word each, but of the same word: no race of halves, yet one of the last two.
__global__ void halves_of_a_word(short* x) {
    x[threadIdx.x / 2 + 62 * (threadIdx.x % 2)] = 1;  // <- halves_of_a_word
}

// Both arguments are views of one array, and overlap.
__global__ void overlapping(const float* x, float* y) {
    y[threadIdx.x] = x[threadIdx.x];  // <- overlapping
}

// ----------------------------------------------------------------------------------------------------- bounds

__global__ void write_beyond(float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) x[i] = 1;  // <- write_beyond
}

__global__ void read_before(const float* x, float* y) {
    y[threadIdx.x] = x[int(threadIdx.x) - 1];  // <- read_before
}

__global__ void far_away(float* x) {
    x[1ll << 32] = 1;  // <- far_away
}

__global__ void null_pointer(const float* x, float* y) {
    y[0] = x[3];  // <- null_pointer
}

// The arguments are neighbouring views of one array.
__global__ void into_the_neighbour(float* x, float* y) {
    y[threadIdx.x] = 1;
    x[threadIdx.x + 1] = 1;  // <- into_the_neighbour
}

__global__ void through_a_cache(const float* x, float* y, int n) {
    y[0] = __ldg(x + n);  // <- through_a_cache
}

__global__ void half_a_vector_beyond(float* x) {
    Four<float>* vectors = reinterpret_cast<Four<float>*>(x);
    Four<float> four = vectors[threadIdx.x];  // <- half_a_vector_beyond
    x[threadIdx.x] = four.at[3];
}

__global__ void beyond_dynamic(float* x) {
    extern __shared__ float scratch[];
    scratch[threadIdx.x + 1] = x[threadIdx.x];  // <- beyond_dynamic
}

__global__ void from_one_room_into_the_next(float* x) {
    __shared__ float first[32], second[32];
    float* place = first;
    second[threadIdx.x] = 0;
    place[threadIdx.x + 32] = 1;  // <- from_one_room_into_the_next
    x[threadIdx.x] = first[threadIdx.x] + second[threadIdx.x];
}

__global__ void index_of_row(float* x) {
    __shared__ float scratch[8][33];
    scratch[0][threadIdx.x + 2] = 1;  // <- index_of_row
    x[threadIdx.x] = 0;
}

__global__ void index_of_local_array(float* x) {
    float sums[4] = {};
    sums[threadIdx.x] = 1;  // <- index_of_local_array
    x[threadIdx.x] = sums[0] + sums[1];
}

__global__ void index_in_struct(float* x) {
    Four<float> four = {};
    four.at[threadIdx.x] = 1;  // <- index_in_struct
    x[threadIdx.x] = four.at[0] + four.at[1];
}

__device__ __forceinline__ void helper(float* x, int i) {
    x[i] = 1;  // <- inside_a_helper
}

__global__ void inside_a_helper(float* x, int n) {
    helper(x, n);
}

// ---------------------------------------------------------------------------------------------- nobody wrote it

__global__ void half_of_scratch(float* x) {
    __shared__ float scratch[64];
    if (threadIdx.x < 32) scratch[threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = scratch[threadIdx.x];  // <- half_of_scratch
}

__global__ void left_by_another_block(float* x) {
    __shared__ float scratch[64];
    if (blockIdx.x == 0) scratch[threadIdx.x] = 1;
    if (blockIdx.x == 1) x[threadIdx.x] = scratch[threadIdx.x];  // <- left_by_another_block
}

// What follows from it is not what is told: the index that is read is the mistake, not where it leads.
__global__ void index_nobody_wrote(float* x) {
    __shared__ int scratch[32];
    x[scratch[threadIdx.x]] = 1;  // <- index_nobody_wrote
}

__global__ void dynamic_unwritten(float* x) {
    extern __shared__ float scratch[];
    x[threadIdx.x] = scratch[threadIdx.x];  // <- dynamic_unwritten
}

__global__ void adds_to_nothing(float* x) {
    x[threadIdx.x] += 1;  // <- adds_to_nothing
}

__global__ void counts_from_nothing(int* x) {
    atomicAdd(x, 1);  // <- counts_from_nothing
}

// -------------------------------------------------------------------------------------------------- divergence

__global__ void barrier_in_a_branch(float* x) {
    if (threadIdx.x < 40) {
        __syncthreads();  // <- barrier_in_a_branch
        x[threadIdx.x] = 1;
    } else {
        __syncthreads();
        x[threadIdx.x] = 2;
    }
}

__global__ void early_return(float* x, int n) {
    if (int(threadIdx.x) >= n) return;
    __syncthreads();  // <- early_return
    x[threadIdx.x] = 1;
}

__global__ void different_rounds(float* x) {
    for (unsigned round = 0; round < 1 + threadIdx.x / 32; round++) __syncthreads();  // <- different_rounds
    x[threadIdx.x] = 1;
}

__global__ void partial_shuffle(float* x) {
    float value = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) value += __shfl_xor_sync(0xffffffffu, value, 1);  // <- partial_shuffle
    x[threadIdx.x] = value;
}

__global__ void shuffle_after_return(float* x, int n) {
    if (int(threadIdx.x) >= n) return;
    float value = x[threadIdx.x];
    value += __shfl_down_sync(0xffffffffu, value, 1);  // <- shuffle_after_return
    x[threadIdx.x] = value;
}

__global__ void not_in_its_mask(float* x) {
    __syncwarp(0x0000ffffu);  // <- not_in_its_mask
    x[threadIdx.x] = 1;
}

__global__ void source_not_in_mask(float* x) {
    float value = x[threadIdx.x];
    if (threadIdx.x < 16) value = __shfl_sync(0x0000ffffu, value, threadIdx.x + 1);  // <- source_not_in_mask
    x[threadIdx.x] = value;
}

// The block has 40 threads, so its second warp has 8 lanes.
__global__ void source_does_not_exist(float* x) {
    float value = x[threadIdx.x];
    value += __shfl_xor_sync(0xffffffffu, value, 16);  // <- source_does_not_exist
    x[threadIdx.x] = value;
}

__global__ void vote_in_a_branch(int* x) {
    if (threadIdx.x > 3) x[threadIdx.x] = __any_sync(0xffffffffu, 1);  // <- vote_in_a_branch
}

// ------------------------------------------------------------------------------------------------- misalignment

__global__ void odd_vector(float* x) {
    Four<float> four = *reinterpret_cast<const Four<float>*>(x + 1);  // <- odd_vector
    x[0] = four.at[0];
}

__global__ void odd_double(float* x) {
    *reinterpret_cast<double*>(x + 1) = 1;  // <- odd_double
}

// It is the view handed over that begins between two vectors.
__global__ void vector_of_a_view(float* x) {
    reinterpret_cast<float4*>(x)[0] = make_float4(1, 2, 3, 4);  // <- vector_of_a_view
}

// In shared memory, which begins at a multiple of sixteen; rows of 33 numbers do not.
__global__ void odd_row(float* x) {
    __shared__ float scratch[4][33];
    *reinterpret_cast<float4*>(scratch[threadIdx.x]) = make_float4(1, 2, 3, 4);  // <- odd_row
    x[threadIdx.x] = scratch[threadIdx.x][0];
}

// --------------------------------------------------------------------------------------------------- arithmetic

__global__ void too_large_a_product(float* x, int rows, int columns) {
    int elements = rows * columns;  // <- too_large_a_product
    x[0] = elements;
}

__global__ void too_large_a_sum(int* x) {
    x[1] = x[0] + 1;  // <- too_large_a_sum
}

__global__ void zero_divisor(int* x, int n) {
    x[0] = 5 / n;  // <- zero_divisor
}

__global__ void too_far_a_shift(int* x, int bits) {
    x[0] = 1 << bits;  // <- too_far_a_shift
}

// -------------------------------------------------------------------------------------------------- never ending

__global__ void waits_for_a_lock(int* x) {
    while (atomicCAS(x, 0, 1) != 0) {  // never given back
    }
    __syncthreads();
}

__global__ void waits_for_another_block(int* x) {
    if (blockIdx.x == 1) atomicExch(x, 1);
    if (blockIdx.x == 0) {
        while (atomicAdd(x, 0) == 0) {
        }
    }
}

__global__ void endless(volatile int* x) {
    while (x[0] == 0) {
    }
}

// ---------------------------------------------------------------------------------------------- too much of it

__global__ void too_much_shared(float* x) {
    __shared__ float scratch[12 * 1024 + 1];
    scratch[threadIdx.x] = 1;
    x[threadIdx.x] = scratch[threadIdx.x];
}

__global__ void static_and_dynamic(float* x) {
    __shared__ float scratch[8 * 1024];
    extern __shared__ float more[];
    scratch[threadIdx.x] = more[threadIdx.x] = 1;
    x[threadIdx.x] = scratch[threadIdx.x] + more[threadIdx.x];
}

__global__ void deep_stack(int* x, int n) {
    volatile char local[300000];
    for (int i = 0; i < n; i++) local[i] = 1;
    x[0] = local[n / 2];
}
