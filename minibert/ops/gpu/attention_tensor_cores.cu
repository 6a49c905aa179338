// Attention for 16-bit types on tensor cores: a first product, and the forward pass.  The backward pass is in a
// separate file.  See tensor_cores.cuh for fragments, attention.cuh for which block does what, and attention.cu for the
// same mathematics on CUDA cores.

// ------------------------------------------------------------------------------------ the smallest product there is

// c [M, N] = a [M, K] b [K, N], M, N and K multiples of 16.
//
//   grid, block    (N / 16, M / 16) blocks of one warp, each for a 16 x 16 tile of c
//   bytes moved    every block reads its rows of a and columns of b from memory, 32 K elements for 256 results: the
//                  tensor core is idle most of the time.  Below, rows and tiles are kept and reused.
template <typename T> __global__ void wmma_product(const T* a, const T* b, float* c, int columns, int depth) {
    Left<T> left;     // 16 x 16 of a
    Right<T> right;   // 16 x 16 of b
    Sums sums;        // 16 x 16 of c, in float32
    int row = blockIdx.y * SIDE, column = blockIdx.x * SIDE;
    wmma::fill_fragment(sums, 0.0f);
    for (int k = 0; k < depth; k += SIDE) {
        wmma::load_matrix_sync(left, a + row * depth + k, depth);
        wmma::load_matrix_sync(right, b + k * columns + column, columns);
        wmma::mma_sync(sums, left, right, sums);
    }
    wmma::store_matrix_sync(c + row * columns + column, sums, columns, wmma::mem_row_major);
}

// ------------------------------------------------------------------------------------------------ flash attention

// context = softmax(q @ k.T / sqrt(D)) @ v, the softmax computed *online* (Milakov and Gimelshein 2018; Dao et al.
// 2022, algorithm 1): keys are processed tile by tile, and sums under an old maximum are rescaled by
// exp(old maximum - new maximum).
//
//   grid, block    (tiles of ROWS queries, heads) blocks of four warps, each warp with its own sixteen queries
//   shared memory  a tile of keys and one of values; for each warp scratch for 16 x TILE scores.  Before the first keys
//                  are loaded, the queries pass through the tiles' memory into registers.
//   bytes moved    a block reads its queries once, and all keys and values of its sequence: T / ROWS times each in all
//
// The sums [16, D] of a warp stay in fragments from the first tile to the last.  Each row needs its own factor, but it
// is unknown which rows a thread's elements belong to; only that fragments of one type have the same layout.  So the
// factors are written to scratch as a matrix, each row sixteen copies of one factor, and loaded as a fragment: the
// elementwise product of sums and factors is correct on every GPU.  This moves 16 x 16 numbers through shared memory
// per tile of keys; sums kept there would move 16 x D, both ways.  The division at the end needs no fragment: the sums
// leave the warp through scratch, where each lane knows its row.
constexpr float UNSEEN = -1e30f;  // below every score; it avoids -inf - -inf = NaN

// One step of a lane's online softmax: turns its share, of which the query sees the first `seen` keys, from products of
// query and keys into exp(score - maximum), or zero if not `kept`.  maximum: of all scores so far; total:
// of the lane's own weights so far.  Returns the factor by which sums under the old maximum must be multiplied.
__device__ __forceinline__ float soften(float (&share)[SHARE], int seen, float scale, unsigned kept, float& maximum,
                                        float& total) {
    float before = maximum;
#pragma unroll
    for (int j = 0; j < SHARE; j++) {
        share[j] = j < seen ? share[j] * scale : UNSEEN;
        maximum = fmaxf(maximum, share[j]);
    }
    maximum = fmaxf(maximum, __shfl_xor_sync(ALL_LANES, maximum, SIDE));  // two lanes share a query's keys
    float factor = exponential(before - maximum);
    total *= factor;
#pragma unroll
    for (int j = 0; j < SHARE; j++) {
        float weight = exponential(share[j] - maximum);
        total += weight;  // dropout comes after the softmax: the denominator includes all
        share[j] = kept >> j & 1 ? weight : 0.0f;
    }
    return factor;
}

// Writes a lane's half of its row of factors: eight copies of the same.
__device__ __forceinline__ void put_factor(float* to, float factor) {
    Vec<float> four = {{factor, factor, factor, factor}};
    store(to, four);
    store(to + Vec<float>::size, four);
}

// __launch_bounds__: threads per block, and how many blocks should fit on a multiprocessor.  That determines how
// many registers a thread may use: 168 for three blocks, 255 for two.
template <typename T, int WIDTH>
__global__ void __launch_bounds__(WARPS * WARP, WIDTH <= 64 ? 3 : 2)
attention_forward(const T* query, const T* key, const T* value, T* context, float* log_sums, const int* cu_seqlens_q,
                  const int* cu_seqlens_k, const int* positions_q, int sequences, int queries, int width, int causal,
                  float scale, float drop_scale, const int* drop_sequences, const int* drop_positions, unsigned key0,
                  unsigned key1, unsigned site, unsigned threshold) {
    constexpr int PITCH = pitch<T, WIDTH>, SCRATCH = pitch<float, TILE>;
    extern __shared__ __align__(128) unsigned char memory[];
    T* key_tile = reinterpret_cast<T*>(memory);
    T* value_tile = key_tile + TILE * PITCH;
    int warp = threadIdx.x / WARP, row = threadIdx.x % SIDE, half = threadIdx.x % WARP / SIDE;
    float* scratch = reinterpret_cast<float*>(value_tile + TILE * PITCH) + warp * SIDE * SCRATCH;
    T* narrow = reinterpret_cast<T*>(scratch);  // the same scratch in sixteen bits, its rows 2 * SCRATCH apart

    Owned owned = find_rows<ROWS>(cu_seqlens_q, sequences);
    if (owned.rows <= 0) return;
    int first_key = cu_seqlens_k[owned.sequence], keys = cu_seqlens_k[owned.sequence + 1] - first_key;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int end = owned.first + owned.rows, mine = owned.first + warp * SIDE + row;  // the lane's query
    int seen = keys_seen(mine, end, keys, positions_q, causal);
    int most = most_keys_seen(owned.first, end, keys, positions_q, causal);

    // both tiles together are as large as the block's queries
    load_tile<ROWS, WIDTH>(key_tile, query + offset_of(owned.first, head, heads, width), owned.rows, width, stride);
    __syncthreads();  // the queries are loaded
    Strip<T, WIDTH, true> strip(key_tile + warp * SIDE * PITCH);
    Sums sums[WIDTH / SIDE], scores[TILE / SIDE], factors;
    clear(sums);
    float maximum = UNSEEN, total = 0;
    for (int first = 0; first < most; first += TILE) {
        long long from = offset_of(first_key + first, head, heads, width);
        __syncthreads();  // all warps are done with the previous contents of the tiles
        load_tile<TILE, WIDTH>(key_tile, key + from, keys - first, width, stride);
        load_tile<TILE, WIDTH>(value_tile, value + from, keys - first, width, stride);
        __syncthreads();  // the tiles are loaded
        multiply_by_transposed(scores, strip, key_tile);
        put_products<SCRATCH, false>(scratch, scores);
        float share[SHARE];
        take_share(share, scratch + row * SCRATCH + half * SHARE);
        int at = first + half * SHARE;  // the share's first key
        unsigned kept = keys_kept(drops, owned.sequence, mine, at, seen - at);
        float factor = soften(share, seen - at, scale, kept, maximum, total);
        put_share(narrow + row * 2 * SCRATCH + half * SHARE, share);
        put_factor(scratch + row * SCRATCH + SIDE + half * SIDE / 2, factor);
        __syncwarp();  // weights and factors are in scratch
        wmma::load_matrix_sync(factors, scratch + SIDE, SCRATCH, wmma::mem_row_major);
        multiply_elements(sums, factors);
        add_product<wmma::row_major, WIDTH>(sums, narrow, 2 * SCRATCH, SIDE, value_tile);
    }
    total += __shfl_xor_sync(ALL_LANES, total, SIDE);
    if (mine < end && half == 0) log_sums[static_cast<long long>(head) * queries + mine] = maximum + logarithm(total);
    write_sums<SCRATCH, WIDTH>(context + offset_of(owned.first + warp * SIDE, head, heads, width), sums,
                               drop_scale / total, scratch, end - owned.first - warp * SIDE, width, stride);
}
