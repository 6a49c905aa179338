// Tensor cores through nvcuda::wmma, and the tiles in shared memory that feed them.
//
// A tensor core multiplies small matrices of 16-bit numbers and accumulates in float32.  The 32 threads of a warp issue
// such a product together: each holds a part of every matrix in its registers, a *fragment*.  Which elements a thread
// holds is unspecified, and differs from one GPU to the next.  So inputs and outputs pass through memory, where
// elements have known addresses; only operations that treat all elements alike may work on the fragment itself.
//
// What wmma requires of that memory: a matrix starts at a multiple of 32 bytes, and so do its neighbours 16 columns
// away; the row stride is a multiple of 16 bytes.  We make the row stride an odd multiple of 16 bytes:
// then 16 bytes from each of eight rows fall in 32 different banks, and are read without conflicts.

#include <mma.h>

namespace wmma = nvcuda::wmma;

constexpr int SIDE = 16;   // fragments are SIDE x SIDE
constexpr int WARPS = 4;   // per block
constexpr int ROWS = WARPS * SIDE;  // that a block owns: sixteen for each warp
constexpr int TILE = 32;   // rows that it processes at a time, of those it loops over

template <typename T, typename Order = wmma::row_major>
using Left = wmma::fragment<wmma::matrix_a, SIDE, SIDE, SIDE, T, Order>;
template <typename T, typename Order = wmma::row_major>
using Right = wmma::fragment<wmma::matrix_b, SIDE, SIDE, SIDE, T, Order>;
using Sums = wmma::fragment<wmma::accumulator, SIDE, SIDE, SIDE, float>;

// The row stride of a tile in shared memory, for rows of NUMBERS elements.
template <typename T, int NUMBERS> constexpr int pitch = NUMBERS + 16 / int(sizeof(T));

// ------------------------------------------------------------------------------------- global <-> shared memory

// All threads of a block copy `rows` rows of one head, each of `width` elements, into a tile [COUNT, WIDTH].  The
// rest of the tile is filled with zeros.  stride: the row stride in elements.  Sixteen bytes at a time if the
// alignment of rows allows it, otherwise element by element, with coalesced access.
template <int COUNT, int WIDTH, typename T>
__device__ __forceinline__ void load_tile(T* tile, const T* from, int rows, int width, int stride) {
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
    for (int i = threadIdx.x; i < COUNT * WIDTH / SIZE; i += WARPS * WARP) {
        int row = i / (WIDTH / SIZE), feature = i % (WIDTH / SIZE) * SIZE;
        Vec<T> eight = {};
        if (row < rows && feature < width) eight = load(from + static_cast<long long>(row) * stride + feature);
        store(tile + row * pitch<T, WIDTH> + feature, eight);
    }
}

// A warp's square [16, 16] of sums, from its scratch to memory: row i multiplied by the `factor` of lane i.  As above,
// only `rows` rows and `width` columns exist.
template <int SCRATCH, typename T>
__device__ __forceinline__ void write_square(T* to, const float* scratch, float factor, int rows, int width, int stride,
                                             bool vectors) {
    int lane = threadIdx.x % WARP;
    if (vectors) {
        int row = lane % SIDE, feature = lane / SIDE * Vec<T>::size;
        Vec<float> low = load(scratch + row * SCRATCH + feature), high = load(scratch + row * SCRATCH + feature + 4);
        Vec<T> eight;
#pragma unroll
        for (int j = 0; j < 4; j++) eight.at[j] = T(low.at[j] * factor), eight.at[j + 4] = T(high.at[j] * factor);
        if (row < rows && feature < width) store(to + static_cast<long long>(row) * stride + feature, eight);
        return;
    }
#pragma unroll 1
    for (int row = lane / SIDE; row < SIDE; row += WARP / SIDE) {
        T number = T(scratch[row * SCRATCH + lane % SIDE] * __shfl_sync(ALL_LANES, factor, row));
        if (row < rows && lane % SIDE < width) to[static_cast<long long>(row) * stride + lane % SIDE] = number;
    }
}

// A warp writes its sums [16, WIDTH]: see write_square.  Lanes i and i + 16 provide the factor of row i.
template <int SCRATCH, int WIDTH, typename T>
__device__ __forceinline__ void write_sums(T* to, const Sums (&sums)[WIDTH / SIDE], float factor, float* scratch,
                                           int rows, int width, int stride) {
#pragma unroll
    for (int k = 0; k < WIDTH / SIDE; k++) {
        __syncwarp();  // all lanes have read the previous contents of scratch
        wmma::store_matrix_sync(scratch, sums[k], SCRATCH, wmma::mem_row_major);
        __syncwarp();  // all parts of the fragment are in scratch
        write_square<SCRATCH>(to + k * SIDE, scratch, factor, rows, width - k * SIDE, stride,
                              width % Vec<T>::size == 0);
    }
}

// --------------------------------------------------------------------------------------------------- products

// A warp's sixteen rows [16, WIDTH], as left factors.  HELD: kept in registers from the start.  Otherwise, if there
// are not enough registers, they stay in shared memory and are read for each product.
template <typename T, int WIDTH, bool HELD> struct Strip {
    static constexpr int PARTS = HELD ? WIDTH / SIDE : 1;
    const T* rows;
    Left<T> parts[PARTS];

    __device__ __forceinline__ explicit Strip(const T* rows) : rows(rows) {
        if constexpr (HELD) {
#pragma unroll
            for (int k = 0; k < WIDTH / SIDE; k++) wmma::load_matrix_sync(parts[k], rows + k * SIDE, pitch<T, WIDTH>);
        }
    }

    __device__ __forceinline__ const Left<T>& part(int k) {
        if constexpr (!HELD) wmma::load_matrix_sync(parts[0], rows + k * SIDE, pitch<T, WIDTH>);
        return parts[HELD ? k : 0];
    }
};

template <int COUNT> __device__ __forceinline__ void clear(Sums (&sums)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) wmma::fill_fragment(sums[i], 0.0f);
}

// Each of the sums times the factors, element by element: all have the same layout, whatever it is.
template <int COUNT> __device__ __forceinline__ void multiply_elements(Sums (&sums)[COUNT], const Sums& factors) {
#pragma unroll
    for (int k = 0; k < COUNT; k++)
#pragma unroll
        for (int i = 0; i < Sums::num_elements; i++) sums[k].x[i] *= factors.x[i];
}

// sums [16, TILE] = strip [16, WIDTH] times the transpose of tile [TILE, WIDTH]
template <typename T, int WIDTH, bool HELD>
__device__ __forceinline__ void multiply_by_transposed(Sums (&sums)[TILE / SIDE], Strip<T, WIDTH, HELD>& strip,
                                                       const T* tile) {
    clear(sums);
#pragma unroll(HELD ? WIDTH / SIDE : 1)
    for (int k = 0; k < WIDTH / SIDE; k++) {
        const Left<T>& left = strip.part(k);
#pragma unroll
        for (int c = 0; c < TILE / SIDE; c++) {
            Right<T, wmma::col_major> right;  // read by columns, it is the transpose
            wmma::load_matrix_sync(right, tile + c * SIDE * pitch<T, WIDTH> + k * SIDE, pitch<T, WIDTH>);
            wmma::mma_sync(sums[c], left, right, sums[c]);
        }
    }
}

// sums [16, WIDTH] += left [16, TILE] times tile [TILE, WIDTH].  Order: whether left is row-major or
// column-major, with stride `distance`; `step` is the offset from its first sixteen columns to the next.
template <typename Order, int WIDTH, typename T>
__device__ __forceinline__ void add_product(Sums (&sums)[WIDTH / SIDE], const T* left, int distance, int step,
                                            const T* tile) {
#pragma unroll(WIDTH <= 32 ? TILE / SIDE : 1)  // if unrolled, wider ones would need more registers than there are
    for (int k = 0; k < TILE / SIDE; k++) {
        Left<T, Order> part;
        wmma::load_matrix_sync(part, left + k * step, distance);
#pragma unroll
        for (int c = 0; c < WIDTH / SIDE; c++) {
            Right<T> right;
            wmma::load_matrix_sync(right, tile + k * SIDE * pitch<T, WIDTH> + c * SIDE, pitch<T, WIDTH>);
            wmma::mma_sync(sums[c], part, right, sums[c]);
        }
    }
}
