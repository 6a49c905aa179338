// What attention on CUDA cores does with tiles in shared memory, forward and backward: see attention.cu.
//
// A block owns a tile of rows and loops over others tile by tile.  Products run in two phases; each thread keeps a
// small tile of results in registers, so that each value read from shared memory is used several times:
//
//   scores    a thread has EACH queries and eight neighbouring keys: one call of Philox decides their dropout per query
//   sums      a thread has four rows and every (threads of a row)-th quad of columns
//
// A block owns OWNED rows, keys or queries, and processes half as many of the others at a time.  Tiles of keys are
// *dealt*: key k is in row (k % 8) * (COUNT / 8) + k / 8.  So adjacent threads, whose keys are eight apart, read
// adjacent rows, which are in different banks.

constexpr int KEYS_EACH = 8;    // neighbouring keys of a thread, in the scores
constexpr int QUAD = 4;         // elements that are read from shared memory at once; rows of a thread, in the sums
constexpr int ROW_THREADS = 8;  // threads that share the sums of four rows: neighbours, in one warp
constexpr int STEP = ROW_THREADS * QUAD;  // columns from one of a thread's quads to the next

// Rows that a block owns.  Double and wide heads take twice the shared memory and registers per row, so half the rows.
template <typename A, int WIDTH> constexpr int OWNED = sizeof(A) == 4 && WIDTH <= 64 ? 64 : 32;
template <typename A, int WIDTH> constexpr int THREADS = OWNED<A, WIDTH> / QUAD * ROW_THREADS;

template <typename A> struct alignas(QUAD * sizeof(A) < 16 ? QUAD * sizeof(A) : 16) Quad { A at[QUAD]; };

template <typename A> __device__ __forceinline__ Quad<A> read_quad(const A* from) {
    return *reinterpret_cast<const Quad<A>*>(from);
}

// The row stride of a tile, for rows of NUMBERS elements: padded by one quad to avoid bank conflicts.
template <int NUMBERS> constexpr int pitch = NUMBERS + QUAD;

template <int COUNT> __device__ __forceinline__ int dealt(int key) {
    return key % KEYS_EACH * (COUNT / KEYS_EACH) + key / KEYS_EACH;
}

// All threads of a block copy `rows` rows of one head, each of `width` elements, into a tile [COUNT, WIDTH], dealt or
// in order.  The rest of the tile is filled with zeros.  stride: the row stride in elements.
template <int COUNT, int WIDTH, bool DEALT, typename A, typename T>
__device__ __forceinline__ void load_tile(A* tile, const T* from, int rows, int width, int stride) {
    for (int i = threadIdx.x; i < COUNT * WIDTH / QUAD; i += blockDim.x) {
        int row = i / (WIDTH / QUAD), feature = i % (WIDTH / QUAD) * QUAD;
        const T* source = from + static_cast<long long>(row) * stride + feature;
        Quad<A> quad = {};
        if (row < rows && feature < width) {
            if (width % QUAD == 0) {
                Quad<T> given = read_quad(source);
#pragma unroll
                for (int j = 0; j < QUAD; j++) quad.at[j] = A(given.at[j]);
            } else {
                for (int j = 0; j < QUAD; j++)
                    if (feature + j < width) quad.at[j] = A(source[j]);
            }
        }
        int to = DEALT ? dealt<COUNT>(row) : row;
        *reinterpret_cast<Quad<A>*>(tile + to * pitch<WIDTH> + feature) = quad;
    }
}

// scores = rows of the left tile times rows of the dealt right tile: EACH x 8 inner products of length WIDTH.
template <int WIDTH, int COUNT, int EACH, typename A>
__device__ __forceinline__ void multiply_rows(A (&scores)[EACH][KEYS_EACH], const A* left, const A* right) {
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < KEYS_EACH; j++) scores[i][j] = 0;
#pragma unroll(WIDTH <= 64 ? 2 : 1)
    for (int d = 0; d < WIDTH; d += QUAD) {
        Quad<A> of_left[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) of_left[i] = read_quad(left + i * pitch<WIDTH> + d);
#pragma unroll
        for (int j = 0; j < KEYS_EACH; j++) {
            Quad<A> of_right = read_quad(right + j * (COUNT / KEYS_EACH) * pitch<WIDTH> + d);
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int k = 0; k < QUAD; k++) scores[i][j] += of_left[i].at[k] * of_right.at[k];
        }
    }
}

// A thread writes its weights, EACH queries by eight keys, into scratch [queries, COUNT keys]; `to` points to its part.
template <int COUNT, int EACH, typename A>
__device__ __forceinline__ void put_weights(A* to, const A (&weights)[EACH][KEYS_EACH]) {
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < KEYS_EACH; j += QUAD) {
            Quad<A> quad = {{weights[i][j], weights[i][j + 1], weights[i][j + 2], weights[i][j + 3]}};
            *reinterpret_cast<Quad<A>*>(to + i * pitch<COUNT> + j) = quad;
        }
}

// sums [4 rows, QUADS quads of columns] += weights of the rows for one row of a tile, times that row.
template <int QUADS, typename A>
__device__ __forceinline__ void add_row(A (&sums)[QUAD][QUADS * QUAD], const A (&weights)[QUAD], const A* row) {
#pragma unroll
    for (int c = 0; c < QUADS; c++) {
        Quad<A> values = read_quad(row + c * STEP);
#pragma unroll
        for (int i = 0; i < QUAD; i++)
#pragma unroll
            for (int k = 0; k < QUAD; k++) sums[i][c * QUAD + k] += weights[i] * values.at[k];
    }
}

// sums += weights [4 rows, COUNT] times tile [COUNT, ..]: the rows of sums are rows of scratch.
template <int COUNT, int QUADS, bool DEALT, typename A>
__device__ __forceinline__ void add_rows(A (&sums)[QUAD][QUADS * QUAD], const A* scratch, const A* tile) {
#pragma unroll 1
    for (int first = 0; first < COUNT; first += QUAD) {
        Quad<A> of_row[QUAD];
#pragma unroll
        for (int i = 0; i < QUAD; i++) of_row[i] = read_quad(scratch + i * pitch<COUNT> + first);
#pragma unroll
        for (int k = 0; k < QUAD; k++) {
            A weights[QUAD] = {of_row[0].at[k], of_row[1].at[k], of_row[2].at[k], of_row[3].at[k]};
            int row = DEALT ? dealt<COUNT>(first + k) : first + k;
            add_row<QUADS>(sums, weights, tile + row * (pitch<QUADS * STEP>));
        }
    }
}

// sums += the transpose of weights [COUNT, 4 columns] times tile [COUNT, ..]: the rows of sums are columns of scratch,
// which has rows of SCRATCH elements.
template <int SCRATCH, int COUNT, int QUADS, typename A>
__device__ __forceinline__ void add_transposed(A (&sums)[QUAD][QUADS * QUAD], const A* scratch, const A* tile) {
#pragma unroll(QUADS < 4 ? 2 : 1)
    for (int row = 0; row < COUNT; row++) {
        Quad<A> weights = read_quad(scratch + row * pitch<SCRATCH>);
        add_row<QUADS>(sums, weights.at, tile + row * (pitch<QUADS * STEP>));
    }
}

// A thread writes its sums, row i times factors[i]; only `rows` rows and `width` columns exist.
template <int QUADS, typename A, typename T>
__device__ __forceinline__ void write_sums(T* to, const A (&sums)[QUAD][QUADS * QUAD], const A (&factors)[QUAD],
                                           int rows, int first_feature, int width, int stride) {
#pragma unroll
    for (int i = 0; i < QUAD; i++) {
        if (i >= rows) return;
#pragma unroll
        for (int c = 0; c < QUADS; c++) {
            int feature = first_feature + c * STEP;
            T* target = to + static_cast<long long>(i) * stride + feature;
            if (feature < width && width % QUAD == 0) {
                Quad<T> quad;
#pragma unroll
                for (int k = 0; k < QUAD; k++) quad.at[k] = T(sums[i][c * QUAD + k] * factors[i]);
                *reinterpret_cast<Quad<T>*>(target) = quad;
            } else {
#pragma unroll
                for (int k = 0; k < QUAD; k++)
                    if (feature + k < width) target[k] = T(sums[i][c * QUAD + k] * factors[i]);
            }
        }
    }
}

// Dropout for eight neighbouring keys, starting at `key`, of one query, which sees `seen` of them: bit j
// says whether key + j is kept.
__device__ __forceinline__ unsigned keys_kept(const Drops& drops, int sequence, int query, int key, int seen) {
    if (drops.threshold == 0 || seen <= 0) return 0xffu;
    Words words = philox(key / DECISIONS, drops.positions[query], drops.sequences[sequence], drops.site, drops.key0,
                         drops.key1);
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < KEYS_EACH; j++) bits |= unsigned(kept(words, j, drops.threshold)) << j;
    return bits;
}

// Zeroes what is dropped.
template <typename A> __device__ __forceinline__ void keep(A (&weights)[KEYS_EACH], unsigned kept) {
#pragma unroll
    for (int j = 0; j < KEYS_EACH; j++) weights[j] = kept >> j & 1 ? weights[j] : A(0);
}
