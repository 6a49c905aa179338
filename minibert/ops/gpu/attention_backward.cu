// Attention on CUDA cores, backward.  See attention.cu for the forward pass.
//
// The probabilities are recomputed from the scores and from log_sums, the logarithm of each query's denominator.
// delta is the mean of a query's gradients under its own probabilities, d_context . context (Dao et al. 2022, section
// 3.1 and appendix B.4).  There are two kernels, since sums over queries and sums over keys cannot both stay within a
// block; and if blocks added to each other's sums in memory, results would depend on the order of blocks:
//
//   attention_d_key_value    a block owns OWN keys and loops over all queries of its sequence, MET at a time
//   attention_d_query        a block owns OWN queries and loops over all keys of its sequence, MET at a time
//
//   grid, block      (tiles of OWN keys, or queries, heads) blocks of THREADS threads
//   shared memory    two tiles of what the block owns, two of what it loops over, scratch for OWN x MET weights
//   bytes moved      a block reads its rows once, and two whole tensors of its sequence: T / OWN times each in all

// delta [heads, queries]: one warp per query and head.  Grid queries * heads / 4, block (32, 4).
template <typename T>
__global__ void attention_delta(const T* d_context, const T* context, sum_t<T>* delta, int queries, int heads,
                                int width) {
    using A = sum_t<T>;
    long long item = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (item >= static_cast<long long>(queries) * heads) return;
    A sum = 0;
    for (int i = threadIdx.x; i < width; i += WARP)
        sum += A(d_context[item * width + i]) * A(context[item * width + i]);
    sum = warp_sum(sum);
    if (threadIdx.x == 0) delta[item % heads * queries + item / heads] = sum;
}

// Turns a query's products with keys into probabilities; it sees the first `seen` of these keys.
template <typename A>
__device__ __forceinline__ void recompute(A (&weights)[KEYS_EACH], int seen, A scale, A log_sum) {
#pragma unroll
    for (int j = 0; j < KEYS_EACH; j++) weights[j] = j < seen ? exponential(weights[j] * scale - log_sum) : A(0);
}

// Turns gradients of the probabilities after dropout into gradients of the scores, times sqrt(D).
template <typename A>
__device__ __forceinline__ void differentiate(A (&d_weights)[KEYS_EACH], const A (&weights)[KEYS_EACH], unsigned kept,
                                              A drop_scale, A mean) {
#pragma unroll
    for (int j = 0; j < KEYS_EACH; j++) {
        // dropped = probabilities * mask
        A d_probability = kept >> j & 1 ? d_weights[j] * drop_scale : A(0);
        // probabilities = softmax(scores)
        d_weights[j] = weights[j] * (d_probability - mean);
    }
}

template <typename T, int WIDTH>
__global__ void __launch_bounds__(THREADS<sum_t<T>, WIDTH>, 2)
attention_d_key_value(const T* query, const T* key, const T* value, const T* d_context, const sum_t<T>* log_sums,
                      const sum_t<T>* delta, T* d_key, T* d_value, const int* cu_seqlens_q, const int* cu_seqlens_k,
                      const int* positions_q, int sequences, int queries, int width, int causal, sum_t<T> scale,
                      sum_t<T> drop_scale, const int* drop_sequences, const int* drop_positions, unsigned key0,
                      unsigned key1, unsigned site, unsigned threshold) {
    using A = sum_t<T>;
    constexpr int OWN = OWNED<A, WIDTH>, MET = OWN / 2, EACH = OWN / 32, COLUMNS = OWN / KEYS_EACH;
    constexpr int QUADS = WIDTH / STEP;
    extern __shared__ __align__(128) unsigned char memory[];
    A* key_tile = reinterpret_cast<A*>(memory);
    A* value_tile = key_tile + OWN * pitch<WIDTH>;
    A* query_tile = value_tile + OWN * pitch<WIDTH>;
    A* d_context_tile = query_tile + MET * pitch<WIDTH>;
    A* scratch = d_context_tile + MET * pitch<WIDTH>;

    Owned owned = find_rows<OWN>(cu_seqlens_k, sequences);
    if (owned.rows <= 0) return;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int first_query = cu_seqlens_q[owned.sequence], end = cu_seqlens_q[owned.sequence + 1];
    int first_key = owned.first - cu_seqlens_k[owned.sequence], keys = first_key + owned.rows;  // in the sequence
    int column = threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS * EACH;                // of the scores
    int quad = threadIdx.x % ROW_THREADS * QUAD, rows = threadIdx.x / ROW_THREADS * QUAD;  // of the sums
    int at = first_key + column * KEYS_EACH;                                               // the thread's first key

    long long own = offset_of(owned.first, head, heads, width);
    load_tile<OWN, WIDTH, true>(key_tile, key + own, owned.rows, width, stride);
    load_tile<OWN, WIDTH, true>(value_tile, value + own, owned.rows, width, stride);
    A d_key_sums[QUAD][QUADS * QUAD] = {}, d_value_sums[QUAD][QUADS * QUAD] = {};
    for (int first = first_query; first < end; first += MET) {
        int stop = min(first + MET, end);
        if (most_keys_seen(first, stop, keys, positions_q, causal) <= first_key) continue;  // no query sees any key
        long long from = offset_of(first, head, heads, width);
        __syncthreads();  // all threads are done with the previous contents of the tiles
        load_tile<MET, WIDTH, false>(query_tile, query + from, stop - first, width, stride);
        load_tile<MET, WIDTH, false>(d_context_tile, d_context + from, stop - first, width, stride);
        __syncthreads();  // the tiles are loaded
        A weights[EACH][KEYS_EACH], d_weights[EACH][KEYS_EACH];
        multiply_rows<WIDTH, OWN>(weights, query_tile + row * pitch<WIDTH>, key_tile + column * pitch<WIDTH>);
        // context = dropped @ v
        multiply_rows<WIDTH, OWN>(d_weights, d_context_tile + row * pitch<WIDTH>, value_tile + column * pitch<WIDTH>);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int mine = first + row + i, seen = keys_seen(mine, stop, keys, positions_q, causal) - at;
            long long number = static_cast<long long>(head) * queries + mine;
            A log_sum = mine < stop ? log_sums[number] : A(0);
            A mean = mine < stop ? delta[number] : A(0);
            unsigned kept = keys_kept(drops, owned.sequence, mine, at, seen);
            recompute(weights[i], seen, scale, log_sum);
            differentiate(d_weights[i], weights[i], kept, drop_scale, mean);
            keep(weights[i], kept);
        }
        A* mine = scratch + row * pitch<OWN> + column * KEYS_EACH;
        put_weights<OWN>(mine, weights);
        __syncthreads();  // all weights are in scratch
        add_transposed<OWN, MET, QUADS>(d_value_sums, scratch + rows, d_context_tile + quad);
        __syncthreads();  // and have been read
        put_weights<OWN>(mine, d_weights);
        __syncthreads();  // the scores' gradients are in scratch
        // scores = q @ k.T / sqrt(D)
        add_transposed<OWN, MET, QUADS>(d_key_sums, scratch + rows, query_tile + quad);
    }
    long long to = offset_of(owned.first + rows, head, heads, width);
    A scales[QUAD] = {scale, scale, scale, scale};
    A drop_scales[QUAD] = {drop_scale, drop_scale, drop_scale, drop_scale};
    write_sums<QUADS>(d_key + to, d_key_sums, scales, owned.rows - rows, quad, width, stride);
    write_sums<QUADS>(d_value + to, d_value_sums, drop_scales, owned.rows - rows, quad, width, stride);
}

template <typename T, int WIDTH>
__global__ void __launch_bounds__(THREADS<sum_t<T>, WIDTH>, 2)
attention_d_query(const T* query, const T* key, const T* value, const T* d_context, const sum_t<T>* log_sums,
                  const sum_t<T>* delta, T* d_query, const int* cu_seqlens_q, const int* cu_seqlens_k,
                  const int* positions_q, int sequences, int queries, int width, int causal, sum_t<T> scale,
                  sum_t<T> drop_scale, const int* drop_sequences, const int* drop_positions, unsigned key0,
                  unsigned key1, unsigned site, unsigned threshold) {
    using A = sum_t<T>;
    constexpr int OWN = OWNED<A, WIDTH>, MET = OWN / 2, EACH = OWN / 32, COLUMNS = MET / KEYS_EACH;
    constexpr int QUADS = WIDTH / STEP;
    extern __shared__ __align__(128) unsigned char memory[];
    A* query_tile = reinterpret_cast<A*>(memory);
    A* d_context_tile = query_tile + OWN * pitch<WIDTH>;
    A* key_tile = d_context_tile + OWN * pitch<WIDTH>;
    A* value_tile = key_tile + MET * pitch<WIDTH>;
    A* scratch = value_tile + MET * pitch<WIDTH>;

    Owned owned = find_rows<OWN>(cu_seqlens_q, sequences);
    if (owned.rows <= 0) return;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int first_key = cu_seqlens_k[owned.sequence], keys = cu_seqlens_k[owned.sequence + 1] - first_key;
    int end = owned.first + owned.rows, most = most_keys_seen(owned.first, end, keys, positions_q, causal);
    int column = threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS * EACH;                // of the scores
    int quad = threadIdx.x % ROW_THREADS * QUAD, rows = threadIdx.x / ROW_THREADS * QUAD;  // of the sums

    long long own = offset_of(owned.first, head, heads, width);
    load_tile<OWN, WIDTH, false>(query_tile, query + own, owned.rows, width, stride);
    load_tile<OWN, WIDTH, false>(d_context_tile, d_context + own, owned.rows, width, stride);
    A sums[QUAD][QUADS * QUAD] = {}, log_sum[EACH], mean[EACH];
    int seen[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int mine = owned.first + row + i;
        long long number = static_cast<long long>(head) * queries + mine;
        seen[i] = keys_seen(mine, end, keys, positions_q, causal);
        log_sum[i] = mine < end ? log_sums[number] : A(0);
        mean[i] = mine < end ? delta[number] : A(0);
    }
    for (int first = 0; first < most; first += MET) {
        long long from = offset_of(first_key + first, head, heads, width);
        __syncthreads();  // all threads are done with the previous contents of the tiles
        load_tile<MET, WIDTH, true>(key_tile, key + from, keys - first, width, stride);
        load_tile<MET, WIDTH, true>(value_tile, value + from, keys - first, width, stride);
        __syncthreads();  // the tiles are loaded
        A weights[EACH][KEYS_EACH], d_weights[EACH][KEYS_EACH];
        multiply_rows<WIDTH, MET>(weights, query_tile + row * pitch<WIDTH>, key_tile + column * pitch<WIDTH>);
        // context = dropped @ v
        multiply_rows<WIDTH, MET>(d_weights, d_context_tile + row * pitch<WIDTH>, value_tile + column * pitch<WIDTH>);
        int at = first + column * KEYS_EACH;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            unsigned kept = keys_kept(drops, owned.sequence, owned.first + row + i, at, seen[i] - at);
            recompute(weights[i], seen[i] - at, scale, log_sum[i]);
            differentiate(d_weights[i], weights[i], kept, drop_scale, mean[i]);
        }
        put_weights<MET>(scratch + row * pitch<MET> + column * KEYS_EACH, d_weights);
        __syncwarp();  // the gradients of these rows are in scratch: neighbours in one warp wrote them
        // scores = q @ k.T / sqrt(D)
        add_rows<MET, QUADS, true>(sums, scratch + rows * pitch<MET>, key_tile + quad);
    }
    long long to = offset_of(owned.first + rows, head, heads, width);
    A scales[QUAD] = {scale, scale, scale, scale};
    write_sums<QUADS>(d_query + to, sums, scales, owned.rows - rows, quad, width, stride);
}
