// The backward pass of attention on tensor cores.  attention_tensor_cores.cu has the forward pass.
//
// The probabilities are recomputed from the scores and from log_sums, the logarithm of each query's denominator;
// delta is the mean of a query's gradients under its own probabilities, d_context . context (Dao et al. 2022, section
// 3.1 and appendix B.4).  There are two kernels, since sums over queries and sums over keys cannot both stay within a
// block, and if blocks added to each other's sums in memory, results would depend on the order of blocks:
//
//   attention_d_key_value    a block owns ROWS keys and loops over all queries of its sequence, TILE at a time
//   attention_d_query        a block owns ROWS queries and loops over all keys of its sequence, TILE at a time
//
//   grid, block      (tiles of ROWS keys, or queries, heads) blocks of four warps, each with its own sixteen rows
//   shared memory    ROWS rows of two tensors, which the block owns; tiles of two others; scratch for each warp.  Up to
//                    D = 64 the owned rows are held in registers; tiles and scratch then reuse their memory.
//   bytes moved      a block reads its rows once, and two whole tensors of its sequence: T / ROWS times each in all
//
// Rounding: gradients of scores, like probabilities, are rounded to sixteen bits before the next product.  The factor
// 1 / sqrt(D) comes after that, in float32.  Values below 6e-8 underflow in float16: that is why losses are scaled.

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 750
constexpr int QUERY_BLOCKS = 2;  // Volta's products take more registers: with three blocks per SM they spill
#else
constexpr int QUERY_BLOCKS = 3;
#endif
constexpr int MOST_HELD = 64;  // up to this width there are enough registers for what a block owns

// Copies a block's rows of two tensors into shared memory.
template <typename T, int WIDTH>
__device__ __forceinline__ void load_owned(T* to, const T* one, const T* other, int rows, int width, int stride) {
    load_tile<ROWS, WIDTH>(to, one, rows, width, stride);
    load_tile<ROWS, WIDTH>(to + ROWS * pitch<T, WIDTH>, other, rows, width, stride);
    __syncthreads();  // all rows are loaded
}

// Turns a lane's share, of which the query sees the first `seen` keys, from products into probabilities.
__device__ __forceinline__ void recompute(float (&share)[SHARE], int seen, float scale, float log_sum) {
#pragma unroll
    for (int j = 0; j < SHARE; j++) share[j] = j < seen ? exponential(share[j] * scale - log_sum) : 0.0f;
}

// Turns a lane's share of gradients of the probabilities after dropout into gradients of the scores.
__device__ __forceinline__ void differentiate(float (&d_share)[SHARE], const float (&probabilities)[SHARE],
                                              unsigned kept, float drop_scale, float mean) {
#pragma unroll
    for (int j = 0; j < SHARE; j++) {
        // dropped = probabilities * mask
        float d_probability = kept >> j & 1 ? d_share[j] * drop_scale : 0.0f;
        // probabilities = softmax(scores)
        d_share[j] = probabilities[j] * (d_probability - mean);
    }
}

template <typename T, int WIDTH>
__global__ void __launch_bounds__(WARPS * WARP, 2)
attention_d_key_value(const T* query, const T* key, const T* value, const T* d_context, const float* log_sums,
                      const float* delta, T* d_key, T* d_value, const int* cu_seqlens_q, const int* cu_seqlens_k,
                      const int* positions_q, int sequences, int queries, int width, int causal, float scale,
                      float drop_scale, const int* drop_sequences, const int* drop_positions, unsigned key0,
                      unsigned key1, unsigned site, unsigned threshold) {
    constexpr bool HELD = WIDTH <= MOST_HELD;
    constexpr int PITCH = pitch<T, WIDTH>, SCRATCH = pitch<float, SIDE>;
    extern __shared__ __align__(128) unsigned char memory[];
    T* own = reinterpret_cast<T*>(memory);
    T* query_tile = own + (HELD ? 0 : 2 * ROWS * PITCH);
    T* d_context_tile = query_tile + TILE * PITCH;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    // a row of scratch for each lane
    float* scratch = reinterpret_cast<float*>(d_context_tile + TILE * PITCH) + warp * TILE * SCRATCH;
    T* narrow = reinterpret_cast<T*>(scratch);

    Owned owned = find_rows<ROWS>(cu_seqlens_k, sequences);
    if (owned.rows <= 0) return;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int first_query = cu_seqlens_q[owned.sequence], end = cu_seqlens_q[owned.sequence + 1];
    int first_key = owned.first - cu_seqlens_k[owned.sequence], keys = first_key + owned.rows;  // in the sequence
    int at = first_key + warp * SIDE;                                                           // the warp's first

    long long own_offset = offset_of(owned.first, head, heads, width);
    load_owned<T, WIDTH>(own, key + own_offset, value + own_offset, owned.rows, width, stride);
    Strip<T, WIDTH, HELD> key_strip(own + warp * SIDE * PITCH);
    Strip<T, WIDTH, HELD> value_strip(own + (ROWS + warp * SIDE) * PITCH);
    Sums d_key_sums[WIDTH / SIDE], d_value_sums[WIDTH / SIDE], products[TILE / SIDE];
    clear(d_key_sums);
    clear(d_value_sums);
    for (int first = first_query; first < end; first += TILE) {
        int mine = first + lane;
        int seen = keys_seen(mine, end, keys, positions_q, causal);
        if (warp_max(seen) <= first_key) continue;  // none of these queries sees any key of the block
        long long from = offset_of(first, head, heads, width), number = static_cast<long long>(head) * queries + mine;
        float log_sum = mine < end ? log_sums[number] : 0.0f;
        float mean = mine < end ? delta[number] : 0.0f;
        unsigned kept = keys_kept(drops, owned.sequence, mine, at, seen - at);
        __syncthreads();  // all warps are done with the previous contents of the tiles
        load_tile<TILE, WIDTH>(query_tile, query + from, end - first, width, stride);
        load_tile<TILE, WIDTH>(d_context_tile, d_context + from, end - first, width, stride);
        __syncthreads();  // the tiles are loaded
        float share[SHARE], d_share[SHARE];
        // scores = q @ k.T / sqrt(D), here transposed: [16 keys, TILE queries].  In scratch, each query has a row.
        multiply_by_transposed(products, key_strip, query_tile);
        put_products<SCRATCH, true>(scratch, products);
        take_share(share, scratch + lane * SCRATCH);
        recompute(share, seen - at, scale, log_sum);
#pragma unroll
        for (int j = 0; j < SHARE; j++) d_share[j] = kept >> j & 1 ? share[j] : 0.0f;
        put_share(narrow + lane * 2 * SCRATCH, d_share);
        __syncwarp();  // the kept probabilities are in scratch
        // context = dropped @ v
        add_product<wmma::col_major, WIDTH>(d_value_sums, narrow, 2 * SCRATCH, SIDE * 2 * SCRATCH, d_context_tile);
        multiply_by_transposed(products, value_strip, d_context_tile);
        put_products<SCRATCH, true>(scratch, products);
        take_share(d_share, scratch + lane * SCRATCH);
        differentiate(d_share, share, kept, drop_scale, mean);
        put_share(narrow + lane * 2 * SCRATCH, d_share);
        __syncwarp();  // the scores' gradients are in scratch
        // scores = q @ k.T / sqrt(D)
        add_product<wmma::col_major, WIDTH>(d_key_sums, narrow, 2 * SCRATCH, SIDE * 2 * SCRATCH, query_tile);
    }
    __syncthreads();  // if the loop ran for no query, warps may still be reading rows whose memory scratch reuses
    int rows = owned.rows - warp * SIDE;
    long long to = offset_of(owned.first + warp * SIDE, head, heads, width);
    write_sums<SCRATCH, WIDTH>(d_key + to, d_key_sums, scale, scratch, rows, width, stride);
    write_sums<SCRATCH, WIDTH>(d_value + to, d_value_sums, drop_scale, scratch, rows, width, stride);
}

template <typename T, int WIDTH>
__global__ void __launch_bounds__(WARPS * WARP, WIDTH <= MOST_HELD ? QUERY_BLOCKS : 2)
attention_d_query(const T* query, const T* key, const T* value, const T* d_context, const float* log_sums,
                  const float* delta, T* d_query, const int* cu_seqlens_q, const int* cu_seqlens_k,
                  const int* positions_q, int sequences, int queries, int width, int causal, float scale,
                  float drop_scale, const int* drop_sequences, const int* drop_positions, unsigned key0, unsigned key1,
                  unsigned site, unsigned threshold) {
    constexpr bool HELD = WIDTH <= MOST_HELD;
    constexpr int PITCH = pitch<T, WIDTH>, SCRATCH = pitch<float, TILE>;
    extern __shared__ __align__(128) unsigned char memory[];
    T* own = reinterpret_cast<T*>(memory);
    T* key_tile = own + (HELD ? 0 : 2 * ROWS * PITCH);
    T* value_tile = key_tile + TILE * PITCH;
    int warp = threadIdx.x / WARP, row = threadIdx.x % SIDE, half = threadIdx.x % WARP / SIDE;
    float* scratch = reinterpret_cast<float*>(value_tile + TILE * PITCH) + warp * SIDE * SCRATCH;
    float* my_scratch = scratch + row * SCRATCH + half * SHARE;
    T* narrow = reinterpret_cast<T*>(scratch);
    T* my_narrow = narrow + row * 2 * SCRATCH + half * SHARE;

    Owned owned = find_rows<ROWS>(cu_seqlens_q, sequences);
    if (owned.rows <= 0) return;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int first_key = cu_seqlens_k[owned.sequence], keys = cu_seqlens_k[owned.sequence + 1] - first_key;
    int end = owned.first + owned.rows, mine = owned.first + warp * SIDE + row;  // the lane's query
    int seen = keys_seen(mine, end, keys, positions_q, causal);
    int most = most_keys_seen(owned.first, end, keys, positions_q, causal);
    long long number = static_cast<long long>(head) * queries + mine;
    float log_sum = mine < end ? log_sums[number] : 0.0f;
    float mean = mine < end ? delta[number] : 0.0f;

    long long own_offset = offset_of(owned.first, head, heads, width);
    load_owned<T, WIDTH>(own, query + own_offset, d_context + own_offset, owned.rows, width, stride);
    Strip<T, WIDTH, HELD> query_strip(own + warp * SIDE * PITCH);
    Strip<T, WIDTH, HELD> d_context_strip(own + (ROWS + warp * SIDE) * PITCH);
    Sums sums[WIDTH / SIDE], products[TILE / SIDE];
    clear(sums);
    for (int first = 0; first < most; first += TILE) {
        long long from = offset_of(first_key + first, head, heads, width);
        int at = first + half * SHARE;  // the share's first key
        unsigned kept = keys_kept(drops, owned.sequence, mine, at, seen - at);
        __syncthreads();  // all warps are done with the previous contents of the tiles
        load_tile<TILE, WIDTH>(key_tile, key + from, keys - first, width, stride);
        load_tile<TILE, WIDTH>(value_tile, value + from, keys - first, width, stride);
        __syncthreads();  // the tiles are loaded
        float share[SHARE], d_share[SHARE];
        multiply_by_transposed(products, query_strip, key_tile);
        put_products<SCRATCH, false>(scratch, products);
        take_share(share, my_scratch);
        recompute(share, seen - at, scale, log_sum);
        // context = dropped @ v
        multiply_by_transposed(products, d_context_strip, value_tile);
        put_products<SCRATCH, false>(scratch, products);
        take_share(d_share, my_scratch);
        differentiate(d_share, share, kept, drop_scale, mean);
        put_share(my_narrow, d_share);
        __syncwarp();  // the scores' gradients are in scratch
        // scores = q @ k.T / sqrt(D)
        add_product<wmma::row_major, WIDTH>(sums, narrow, 2 * SCRATCH, SIDE, key_tile);
    }
    write_sums<SCRATCH, WIDTH>(d_query + own_offset + static_cast<long long>(warp) * SIDE * stride, sums, scale,
                               scratch, owned.rows - warp * SIDE, width, stride);
}
