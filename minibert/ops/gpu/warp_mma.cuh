// Tensor cores through PTX instructions: mma.sync and ldmatrix, for compute capability 8.0 and up.
//
// wmma (tensor_cores.cuh) does not say which lane holds which element of a matrix, so every score passes through shared
// memory.  These instructions do specify it (PTX ISA, "Matrix fragments for mma.m16n8k16"), and a product leaves its
// result in registers just as the next product takes its left factor.  With g = lane / 4 and t = lane % 4 a lane holds
//
//     Sums [16, 8], float32      at[0], at[1]: row g, columns 2t and 2t + 1       at[2], at[3]: the same of row g + 8
//     Left [16, 16], 16 bits     at[0]: row g, columns 2t and 2t + 1, packed      at[1]: the same of row g + 8
//                                at[2], at[3]: the same, eight columns to the right
//     right factor [16, 8]       two registers: rows 2t and 2t + 1 of column g, and eight rows below
//
// A matrix in shared memory is row-major, with a row stride of an odd multiple of 16 bytes: then 16 bytes from each of
// eight rows fall in 32 different banks, and ldmatrix reads them without conflicts.

constexpr int SIDE = 16;            // rows of a warp's fragments
constexpr int WARPS = 4;            // per block
constexpr int ROWS = WARPS * SIDE;  // that a block owns: sixteen for each warp

// The row stride of a tile in shared memory, for rows of NUMBERS elements.
template <typename T, int NUMBERS> constexpr int pitch = NUMBERS + 16 / int(sizeof(T));

struct Sums { float at[4]; };
struct Left { unsigned at[4]; };

// -------------------------------------------------------------------------------------------------- instructions

#ifdef MINIBERT_EMULATOR
#include <warp_mma_instructions.h>  // the emulator implements them as functions of the same names
#else

// Four matrices [8, 8] of 16-bit numbers from shared memory: lanes 8 i to 8 i + 7 give the addresses of matrix i's
// rows.  A lane gets columns 2t and 2t + 1 of row g of each; of the transpose, if TRANSPOSED.
template <bool TRANSPOSED> __device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(address) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(address) : "memory");
}

// sums [16, 8] += left [16, 16] times the right factor [16, 8].  The last argument only selects the type.
__device__ __forceinline__ void multiply_add(Sums& sums, const Left& left, unsigned right0, unsigned right1, __half) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums.at[0]), "+f"(sums.at[1]), "+f"(sums.at[2]), "+f"(sums.at[3])
        : "r"(left.at[0]), "r"(left.at[1]), "r"(left.at[2]), "r"(left.at[3]), "r"(right0), "r"(right1));
}

__device__ __forceinline__ void multiply_add(Sums& sums, const Left& left, unsigned right0, unsigned right1,
                                             __nv_bfloat16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums.at[0]), "+f"(sums.at[1]), "+f"(sums.at[2]), "+f"(sums.at[3])
        : "r"(left.at[0]), "r"(left.at[1]), "r"(left.at[2]), "r"(left.at[3]), "r"(right0), "r"(right1));
}

// Two numbers rounded to 16 bits, the first one in the lower half.
__device__ __forceinline__ unsigned packed(float first, float second, __half) {
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}

__device__ __forceinline__ unsigned packed(float first, float second, __nv_bfloat16) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}

// Copies sixteen bytes from global to shared memory, bypassing registers: zeros if `from` is null.  They are visible
// to this thread after wait_copies, and to others after __syncthreads.
__device__ __forceinline__ void copy_async(void* to, const void* from) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to)), bytes = from == nullptr ? 0 : 16;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address),
                 "l"(__cvta_generic_to_global(from)), "r"(bytes) : "memory");
}

// Closes a group of copies, which may be empty.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all groups but the last REMAINING have arrived.
template <int REMAINING> __device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(REMAINING) : "memory");
}

__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif

// ----------------------------------------------------------------------------------------- global -> shared memory

// All threads of a block fetch `rows` rows of one head, each of `width` elements, into a tile [COUNT, WIDTH].  The
// rest of the tile is filled with zeros.  stride: the row stride in elements.  Sixteen bytes at a time if the
// alignment of rows allows it, and then asynchronously; otherwise element by element.
template <int COUNT, int WIDTH, typename T>
__device__ __forceinline__ void fetch_tile(T* tile, const T* from, int rows, int width, int stride) {
    constexpr int SIZE = Vec<T>::size;
    if (width % SIZE != 0) {
#pragma unroll 1
        for (int i = threadIdx.x; i < COUNT * WIDTH; i += WARPS * WARP) {
            int row = i / WIDTH, feature = i % WIDTH;
            T number = T(0.0f);
            if (row < rows && feature < width) number = from[static_cast<long long>(row) * stride + feature];
            tile[row * pitch<T, WIDTH> + feature] = number;
        }
        return;
    }
#pragma unroll
    for (int step = 0; step < COUNT * WIDTH / SIZE; step += WARPS * WARP) {
        int i = step + threadIdx.x, row = i / (WIDTH / SIZE), feature = i % (WIDTH / SIZE) * SIZE;
        const T* source = nullptr;
        if (row < rows && feature < width) source = from + static_cast<long long>(row) * stride + feature;
        copy_async(tile + row * pitch<T, WIDTH> + feature, source);
    }
}

// ------------------------------------------------------------------------------------------------------ products

// A warp's sixteen rows [16, WIDTH], as left factors.  HELD: kept in registers from the start.  Otherwise, if there
// are not enough registers, they stay in shared memory and are read for each product.
template <typename T, int WIDTH, bool HELD> struct Strip {
    static constexpr int PARTS = HELD ? WIDTH / SIDE : 1;
    const T* rows;
    Left parts[PARTS];

    __device__ __forceinline__ explicit Strip(const T* first_row) {
        int lane = threadIdx.x % WARP;
        rows = first_row + lane % SIDE * pitch<T, WIDTH> + lane / SIDE * 8;
        if constexpr (HELD) {
#pragma unroll
            for (int k = 0; k < PARTS; k++) load_matrices<false>(parts[k].at, rows + k * SIDE);
        }
    }

    __device__ __forceinline__ const Left& part(int k) {
        if constexpr (!HELD) load_matrices<false>(parts[0].at, rows + k * SIDE);
        return parts[HELD ? k : 0];
    }
};

template <int COUNT> __device__ __forceinline__ void clear(Sums (&sums)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) sums[i] = {{0.0f, 0.0f, 0.0f, 0.0f}};
}

// sums [16, COUNT] = strip [16, WIDTH] times the transpose of tile [COUNT, WIDTH]
template <int COUNT, typename T, int WIDTH, bool HELD>
__device__ __forceinline__ void multiply_by_transposed(Sums (&sums)[COUNT / 8], Strip<T, WIDTH, HELD>& strip,
                                                       const T* tile) {
    int lane = threadIdx.x % WARP;
    const T* from = tile + (lane / SIDE * 8 + lane % 8) * pitch<T, WIDTH> + lane / 8 % 2 * 8;
    clear(sums);
#pragma unroll(HELD ? WIDTH / SIDE : 2)
    for (int k = 0; k < WIDTH / SIDE; k++) {
        const Left& left = strip.part(k);
#pragma unroll
        for (int c = 0; c < COUNT / SIDE; c++) {
            unsigned right[4];  // two right factors; the rows of the tile are their columns
            load_matrices<false>(right, from + c * SIDE * pitch<T, WIDTH> + k * SIDE);
            multiply_add(sums[2 * c], left, right[0], right[1], T());
            multiply_add(sums[2 * c + 1], left, right[2], right[3], T());
        }
    }
}

// sums [16, WIDTH] += left [16, COUNT] times tile [COUNT, WIDTH]
template <int COUNT, int WIDTH, typename T>
__device__ __forceinline__ void add_product(Sums (&sums)[WIDTH / 8], const Left (&left)[COUNT / SIDE], const T* tile) {
    int lane = threadIdx.x % WARP;
    const T* from = tile + lane % SIDE * pitch<T, WIDTH> + lane / SIDE * 8;
#pragma unroll
    for (int k = 0; k < COUNT / SIDE; k++) {
#pragma unroll
        for (int c = 0; c < WIDTH / SIDE; c++) {
            unsigned right[4];
            load_matrices<true>(right, from + k * SIDE * pitch<T, WIDTH> + c * SIDE);
            multiply_add(sums[2 * c], left[k], right[0], right[1], T());
            multiply_add(sums[2 * c + 1], left[k], right[2], right[3], T());
        }
    }
}

// Sums [16, COUNT] rounded to 16 bits, as left factors: no element leaves its lane.
template <typename T, int COUNT>
__device__ __forceinline__ void as_left(Left (&left)[COUNT / 2], const Sums (&sums)[COUNT]) {
#pragma unroll
    for (int k = 0; k < COUNT / 2; k++) {
        const Sums &near = sums[2 * k], &far = sums[2 * k + 1];
        left[k] = {{packed(near.at[0], near.at[1], T()), packed(near.at[2], near.at[3], T()),
                    packed(far.at[0], far.at[1], T()), packed(far.at[2], far.at[3], T())}};
    }
}

// Which of a lane's two rows, as a type: the choice is made at compile time.
template <int NUMBER> struct Half { static constexpr int value = NUMBER; };

// Four lanes hold a row in pairs of neighbours, each lane one pair of every eight.  They exchange pairs, so that lane t
// gets all four pairs of the t-th eight: sixteen bytes.  In round k, lane t exchanges a pair with lane t ^ k.
__device__ __forceinline__ Vec<unsigned> exchange_pairs(const Vec<unsigned>& pairs) {
    int t = threadIdx.x % 4;
    Vec<unsigned> eight = {};
#pragma unroll
    for (int round = 0; round < 4; round++) {
        int other = t ^ round;
        unsigned given = other == 0 ? pairs.at[0] : other == 1 ? pairs.at[1] : other == 2 ? pairs.at[2] : pairs.at[3];
        unsigned taken = __shfl_xor_sync(ALL_LANES, given, round);
#pragma unroll
        for (int i = 0; i < 4; i++) eight.at[i] = other == i ? taken : eight.at[i];
    }
    return eight;
}

// Writes a lane's row of its warp's sums [16, WIDTH], times a factor, to memory, if it exists: of its two rows, the one
// whose sums are at[0] and at[1] (HALF = 0), or at[2] and at[3] (HALF = 1).
template <int HALF, int WIDTH, typename T>
__device__ __forceinline__ void write_row(T* to, const Sums (&sums)[WIDTH / 8], float factor, int width, bool there) {
    int t = threadIdx.x % 4;
    if (width % Vec<T>::size == 0) {
#pragma unroll
        for (int j = 0; j < WIDTH / 8; j += 4) {
            Vec<unsigned> pairs;
#pragma unroll
            for (int i = 0; i < 4; i++)
                pairs.at[i] = packed(sums[j + i].at[2 * HALF] * factor, sums[j + i].at[2 * HALF + 1] * factor, T());
            Vec<unsigned> eight = exchange_pairs(pairs);
            int feature = 8 * (j + t);
            if (there && feature < width) store(reinterpret_cast<unsigned*>(to + feature), eight);
        }
        return;
    }
    bool pairs = width % 2 == 0;  // then each pair of neighbours is aligned to four bytes
#pragma unroll
    for (int j = 0; j < WIDTH / 8; j++) {
        int feature = 8 * j + 2 * t;
        float first = sums[j].at[2 * HALF] * factor, second = sums[j].at[2 * HALF + 1] * factor;
        if (!there || feature >= width) continue;
        if (pairs) *reinterpret_cast<unsigned*>(to + feature) = packed(first, second, T());
        else to[feature] = T(first);
        if (!pairs && feature + 1 < width) to[feature + 1] = T(second);
    }
}
