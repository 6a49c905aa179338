// The backward pass of attention with mma.sync.  attention_mma.cu has the forward pass, and
// attention_tensor_cores_backward.cu explains why there are two kernels:
//
//   attention_d_key_value    a block owns ROWS keys and loops over all queries of its sequence, TILE at a time
//   attention_d_query        a block owns ROWS queries and loops over all keys of its sequence, TILE at a time
//
//   grid, block      (tiles of ROWS keys, or queries, heads) blocks of four warps, each with its own sixteen rows
//   registers        scores and their gradients, which are never in memory; and what a block owns, as far as there are
//                    enough registers
//   shared memory    two stages, each a tile of two tensors: one is filled while the warps compute with the other.
//                    Owned rows that are held in registers pass through it first; others have separate memory.
//   bytes moved      a block reads its rows once, and two whole tensors of its sequence: T / ROWS times each in all
//
// Rounding: gradients of scores, like probabilities, are rounded to sixteen bits before the next product.  The factor
// 1 / sqrt(D) comes after that, in float32.  Values below 6e-8 underflow in float16: that is why losses are scaled.

constexpr int TILE = 32;       // rows that a block processes at a time, of those it loops over
constexpr int MOST_HELD = 64;  // up to this width there are enough registers for what a block owns
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int KEY_BLOCKS = 2;  // on Blackwell, with three blocks per multiprocessor, registers spill
#else
constexpr int KEY_BLOCKS = 3;
#endif

// Copies a block's rows of two tensors into shared memory.
template <typename T, int WIDTH>
__device__ __forceinline__ void load_owned(T* to, const T* one, const T* other, int rows, int width, int stride) {
    fetch_tile<ROWS, WIDTH>(to, one, rows, width, stride);
    fetch_tile<ROWS, WIDTH>(to + ROWS * pitch<T, WIDTH>, other, rows, width, stride);
    commit_copies();
    wait_copies<0>();  // this thread's part has arrived
    __syncthreads();   // and so have those of the others
}

template <typename T, int WIDTH>
__global__ void __launch_bounds__(WARPS * WARP, WIDTH <= MOST_HELD ? KEY_BLOCKS : 2)
attention_d_key_value(const T* query, const T* key, const T* value, const T* d_context, const float* log_sums,
                      const float* delta, T* d_key, T* d_value, const int* cu_seqlens_q, const int* cu_seqlens_k,
                      const int* positions_q, int sequences, int queries, int width, int causal, float scale,
                      float drop_scale, const int* drop_sequences, const int* drop_positions, unsigned key0,
                      unsigned key1, unsigned site, unsigned threshold) {
    // of what it owns, a block up to width 64 holds the keys in registers, and up to width 32 the values too
    constexpr bool KEYS_HELD = WIDTH <= MOST_HELD, HELD = WIDTH <= MOST_HELD / 2;
    constexpr int PITCH = pitch<T, WIDTH>, STAGE = 2 * TILE * PITCH;
    extern __shared__ __align__(128) unsigned char memory[];
    T* own = reinterpret_cast<T*>(memory);
    T* stages = own + (HELD ? 0 : 2 * ROWS * PITCH);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;

    Owned owned = find_rows<ROWS>(cu_seqlens_k, sequences);
    if (owned.rows <= 0) return;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int first_query = cu_seqlens_q[owned.sequence], end = cu_seqlens_q[owned.sequence + 1];
    int first_key = owned.first - cu_seqlens_k[owned.sequence], keys = first_key + owned.rows;  // in the sequence
    int at = first_key + warp * SIDE;                                                           // the warp's first
    int sequence = 0;
    if (threshold != 0) sequence = drop_sequences[owned.sequence];

    long long own_offset = offset_of(owned.first, head, heads, width);
    load_owned<T, WIDTH>(own, key + own_offset, value + own_offset, owned.rows, width, stride);
    Strip<T, WIDTH, KEYS_HELD> key_strip(own + warp * SIDE * PITCH);
    Strip<T, WIDTH, HELD> value_strip(own + (ROWS + warp * SIDE) * PITCH);
    if constexpr (HELD) __syncthreads();  // all warps have their rows in registers, so the stages can be filled

    auto fetch = [&](int stage, int first) {
        long long from = offset_of(first, head, heads, width);
        fetch_tile<TILE, WIDTH>(stages + stage * STAGE, query + from, end - first, width, stride);
        fetch_tile<TILE, WIDTH>(stages + stage * STAGE + TILE * PITCH, d_context + from, end - first, width, stride);
        commit_copies();
    };
    int start = first_query;
    if (causal)  // queries that see no key of the block come first
        while (start < end && warp_max(keys_seen(start + lane, end, keys, positions_q, causal)) <= first_key)
            start += TILE;
    if (end > start) fetch(0, start);
    float scale2 = scale * LOG2_E;
    Sums d_key_sums[WIDTH / 8], d_value_sums[WIDTH / 8];
    clear(d_key_sums);
    clear(d_value_sums);
    for (int first = start, stage = 0; first < end; first += TILE, stage ^= 1) {
        int mine = first + lane;  // lane i holds the values of query i
        int seen = keys_seen(mine, end, keys, positions_q, causal);
        long long number = static_cast<long long>(head) * queries + mine;
        float log_sum = mine < end ? log_sums[number] * LOG2_E : 0.0f;
        float mean = mine < end ? delta[number] : 0.0f;
        int position = 0;
        if (threshold != 0) position = mine < end ? drop_positions[mine] : 0;
        __syncthreads();  // all warps are done with the previous contents of the other stage
        if (end > first + TILE) fetch(stage ^ 1, first + TILE); else commit_copies();
        wait_copies<1>();  // this thread's part of the tile has arrived
        __syncthreads();   // and so have those of the others
        const T* query_tile = stages + stage * STAGE;
        const T* d_context_tile = query_tile + TILE * PITCH;
        // scores = q @ k.T / sqrt(D), here transposed: [16 keys, TILE queries]
        Sums probabilities[TILE / 8], products[TILE / 8];
        multiply_by_transposed<TILE>(probabilities, key_strip, query_tile);
#pragma unroll
        for (int j = 0; j < TILE / 8; j++)
#pragma unroll
            for (int column = 0; column < 2; column++) {
                int its_query = 8 * j + 2 * t + column;
                float its_log_sum = __shfl_sync(ALL_LANES, log_sum, its_query);
                int its_keys = __shfl_sync(ALL_LANES, seen, its_query) - at - g;
                float& near = probabilities[j].at[column];
                float& far = probabilities[j].at[2 + column];
                near = 0 < its_keys ? power_of_two(near * scale2 - its_log_sum) : 0.0f;
                far = 8 < its_keys ? power_of_two(far * scale2 - its_log_sum) : 0.0f;
            }
        unsigned kept = ~0u;
        if (threshold != 0) kept = kept_by_keys<TILE / 8>(drops, at, position, sequence);
        Left factors[TILE / SIDE];
#pragma unroll
        for (int j = 0; j < TILE / 8; j++) products[j] = probabilities[j];
        drop_scores(products, kept);
        as_left<T>(factors, products);
        // context = dropped @ v
        add_product<TILE, WIDTH>(d_value_sums, factors, d_context_tile);
        multiply_by_transposed<TILE>(products, value_strip, d_context_tile);
#pragma unroll
        for (int j = 0; j < TILE / 8; j++)
#pragma unroll
            for (int column = 0; column < 2; column++) {
                float its_mean = __shfl_sync(ALL_LANES, mean, 8 * j + 2 * t + column);
#pragma unroll
                for (int i = column; i < 4; i += 2)
                    products[j].at[i] = differentiate(products[j].at[i], probabilities[j].at[i],
                                                      kept >> (4 * j + i) & 1, drop_scale, its_mean);
            }
        as_left<T>(factors, products);
        // scores = q @ k.T / sqrt(D)
        add_product<TILE, WIDTH>(d_key_sums, factors, query_tile);
    }
    auto write = [&](auto half) {
        constexpr int HALF = decltype(half)::value;
        int row = warp * SIDE + g + 8 * HALF;
        long long to = offset_of(owned.first + row, head, heads, width);
        write_row<HALF, WIDTH>(d_key + to, d_key_sums, scale, width, row < owned.rows);
        write_row<HALF, WIDTH>(d_value + to, d_value_sums, drop_scale, width, row < owned.rows);
    };
    write(Half<0>());
    write(Half<1>());
}

template <typename T, int WIDTH>
__global__ void __launch_bounds__(WARPS * WARP, WIDTH <= 32 ? 4 : WIDTH <= MOST_HELD ? 3 : 2)
attention_d_query(const T* query, const T* key, const T* value, const T* d_context, const float* log_sums,
                  const float* delta, T* d_query, const int* cu_seqlens_q, const int* cu_seqlens_k,
                  const int* positions_q, int sequences, int queries, int width, int causal, float scale,
                  float drop_scale, const int* drop_sequences, const int* drop_positions, unsigned key0, unsigned key1,
                  unsigned site, unsigned threshold) {
    constexpr bool HELD = WIDTH <= MOST_HELD;
    constexpr int PITCH = pitch<T, WIDTH>, STAGE = 2 * TILE * PITCH;
    extern __shared__ __align__(128) unsigned char memory[];
    T* own = reinterpret_cast<T*>(memory);
    T* stages = own + (HELD ? 0 : 2 * ROWS * PITCH);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;

    Owned owned = find_rows<ROWS>(cu_seqlens_q, sequences);
    if (owned.rows <= 0) return;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int first_key = cu_seqlens_k[owned.sequence], keys = cu_seqlens_k[owned.sequence + 1] - first_key;
    int end = owned.first + owned.rows, mine = owned.first + warp * SIDE + g;  // the lane's queries: mine, mine + 8
    int most = most_keys_seen(owned.first, end, keys, positions_q, causal);
    int seen[2], positions[2] = {0, 0}, sequence = 0;
    float log_sum[2], means[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = mine + 8 * half;
        long long number = static_cast<long long>(head) * queries + row;
        seen[half] = keys_seen(row, end, keys, positions_q, causal);
        log_sum[half] = row < end ? log_sums[number] * LOG2_E : 0.0f;
        means[half] = row < end ? delta[number] : 0.0f;
        if (threshold != 0) positions[half] = row < end ? drop_positions[row] : 0;
    }
    if (threshold != 0) sequence = drop_sequences[owned.sequence];

    long long own_offset = offset_of(owned.first, head, heads, width);
    load_owned<T, WIDTH>(own, query + own_offset, d_context + own_offset, owned.rows, width, stride);
    Strip<T, WIDTH, HELD> query_strip(own + warp * SIDE * PITCH);
    Strip<T, WIDTH, HELD> d_context_strip(own + (ROWS + warp * SIDE) * PITCH);
    if constexpr (HELD) __syncthreads();  // all warps have their rows in registers, so the stages can be filled

    auto fetch = [&](int stage, int first) {
        long long from = offset_of(first_key + first, head, heads, width);
        fetch_tile<TILE, WIDTH>(stages + stage * STAGE, key + from, keys - first, width, stride);
        fetch_tile<TILE, WIDTH>(stages + stage * STAGE + TILE * PITCH, value + from, keys - first, width, stride);
        commit_copies();
    };
    fetch(0, 0);
    Sums sums[WIDTH / 8];
    clear(sums);
    for (int first = 0, stage = 0; first < most; first += TILE, stage ^= 1) {
        __syncthreads();  // all warps are done with the previous contents of the other stage
        if (most > first + TILE) fetch(stage ^ 1, first + TILE); else commit_copies();
        wait_copies<1>();  // this thread's part of the tile has arrived
        __syncthreads();   // and so have those of the others
        const T* key_tile = stages + stage * STAGE;
        Sums probabilities[TILE / 8], products[TILE / 8];
        multiply_by_transposed<TILE>(probabilities, query_strip, key_tile);
#pragma unroll
        for (int j = 0; j < TILE / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float& score = probabilities[j].at[i];
                bool sees = first + 8 * j + 2 * t + i % 2 < seen[i / 2];
                score = sees ? power_of_two(score * scale * LOG2_E - log_sum[i / 2]) : 0.0f;
            }
        unsigned kept = ~0u;
        if (threshold != 0) kept = kept_by_queries<TILE / 8>(drops, first, positions[0], positions[1], sequence);
        // context = dropped @ v
        multiply_by_transposed<TILE>(products, d_context_strip, key_tile + TILE * PITCH);
#pragma unroll
        for (int j = 0; j < TILE / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                products[j].at[i] = differentiate(products[j].at[i], probabilities[j].at[i], kept >> (4 * j + i) & 1,
                                                  drop_scale, means[i / 2]);
        Left factors[TILE / SIDE];
        as_left<T>(factors, products);
        // scores = q @ k.T / sqrt(D)
        add_product<TILE, WIDTH>(sums, factors, key_tile);
    }
    auto write = [&](auto half) {
        constexpr int HALF = decltype(half)::value;
        int row = mine + 8 * HALF;
        write_row<HALF, WIDTH>(d_query + offset_of(row, head, heads, width), sums, scale, width, row < end);
    };
    write(Half<0>());
    write(Half<1>());
}
