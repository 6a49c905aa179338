// Attention on CUDA cores, forward: a plain kernel to read first, then the fast one.  attention_backward.cu has the
// backward pass, attention_tensor_cores.cu both passes for 16-bit types.
//
//     context = softmax(q @ k.T / sqrt(D)) @ v          for each sequence and head
//
// The softmax is computed *online* (Milakov and Gimelshein 2018; Dao et al. 2022, algorithm 1): keys are processed one
// after another, and sums under an old maximum are rescaled by exp(old maximum - new maximum).  So the
// scores, T numbers per query, are never stored in memory.

template <typename A> constexpr A UNSEEN = A(-1e30);  // below every score; it avoids -inf - -inf = NaN

// ------------------------------------------------------------------------------------------------ plain

// One warp per query and head loops over the keys; a lane holds every 32nd feature.  Without dropout.
//
//   grid, block     (queries / 4, heads), (32, 4)
//   bytes moved     each query reads all keys and values of its sequence: 2 * T * D elements for D results
template <typename T, int WIDTH>
__global__ void attention_forward_plain(const T* query, const T* key, const T* value, T* context,
                                        const int* cu_seqlens_q, const int* cu_seqlens_k, const int* positions_q,
                                        int sequences, int queries, int width, int causal, sum_t<T> scale) {
    using A = sum_t<T>;
    constexpr int EACH = WIDTH / WARP;
    int mine = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x, head = blockIdx.y, heads = gridDim.y;
    if (mine >= queries) return;
    int sequence = 0;
    while (cu_seqlens_q[sequence + 1] <= mine) sequence++;
    int first_key = cu_seqlens_k[sequence], keys = cu_seqlens_k[sequence + 1] - first_key;
    int seen = keys_seen(mine, queries, keys, positions_q, causal);

    A q[EACH], sums[EACH] = {}, maximum = UNSEEN<A>, total = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int feature = i * WARP + lane;
        q[i] = feature < width ? A(query[offset_of(mine, head, heads, width) + feature]) : A(0);
    }
    for (int k = first_key; k < first_key + seen; k++) {
        long long row = offset_of(k, head, heads, width);
        A product = 0;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int feature = i * WARP + lane;
            product += feature < width ? q[i] * A(key[row + feature]) : A(0);
        }
        A score = warp_sum(product) * scale;
        A higher = score > maximum ? score : maximum;
        A factor = exponential(maximum - higher), weight = exponential(score - higher);
        maximum = higher;
        total = total * factor + weight;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int feature = i * WARP + lane;
            A v = feature < width ? A(value[row + feature]) : A(0);
            sums[i] = sums[i] * factor + weight * v;
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int feature = i * WARP + lane;
        if (feature < width) context[offset_of(mine, head, heads, width) + feature] = T(sums[i] / total);
    }
}

// ------------------------------------------------------------------------------------------------- fast

// Turns eight scores of a query, of which it sees the first `seen`, from products of query and keys into
// exp(score - maximum).  maximum: of all scores so far; total: of the thread's own weights so far.  COLUMNS
// neighbouring threads share the query.  Returns the factor by which sums under the old maximum must be multiplied.
template <int COLUMNS, typename A>
__device__ __forceinline__ A soften(A (&weights)[KEYS_EACH], int seen, A scale, A& maximum, A& total) {
    A before = maximum;
#pragma unroll
    for (int j = 0; j < KEYS_EACH; j++) {
        weights[j] = j < seen ? weights[j] * scale : UNSEEN<A>;
        maximum = weights[j] > maximum ? weights[j] : maximum;
    }
#pragma unroll
    for (int distance = COLUMNS / 2; distance > 0; distance /= 2) {
        A other = __shfl_xor_sync(ALL_LANES, maximum, distance);
        maximum = other > maximum ? other : maximum;
    }
    A factor = exponential(before - maximum);
    total *= factor;
#pragma unroll
    for (int j = 0; j < KEYS_EACH; j++) {
        weights[j] = exponential(weights[j] - maximum);
        total += weights[j];  // dropout comes after the softmax: the denominator includes all
    }
    return factor;
}

// Fetches the values for the four rows of a thread's sums from the threads that hold them, EACH rows per thread.
template <int COLUMNS, int EACH, typename A>
__device__ __forceinline__ void spread(A (&of_rows)[QUAD], const A (&mine)[EACH]) {
    int first = threadIdx.x % WARP / ROW_THREADS * ROW_THREADS;  // the first of the threads that share the four rows
#pragma unroll
    for (int i = 0; i < QUAD; i++) of_rows[i] = __shfl_sync(ALL_LANES, mine[i % EACH], first + i / EACH * COLUMNS);
}

//   grid, block     (tiles of OWN queries, heads) blocks of THREADS threads
//   shared memory   the block's queries, a tile of MET keys and one of values, scratch for OWN x MET weights
//   bytes moved     a block reads its queries once, and all keys and values of its sequence: T / OWN times each in all
template <typename T, int WIDTH>
__global__ void __launch_bounds__(THREADS<sum_t<T>, WIDTH>, 3)
attention_forward(const T* query, const T* key, const T* value, T* context, sum_t<T>* log_sums, const int* cu_seqlens_q,
                  const int* cu_seqlens_k, const int* positions_q, int sequences, int queries, int width, int causal,
                  sum_t<T> scale, sum_t<T> drop_scale, const int* drop_sequences, const int* drop_positions,
                  unsigned key0, unsigned key1, unsigned site, unsigned threshold) {
    using A = sum_t<T>;
    constexpr int OWN = OWNED<A, WIDTH>, MET = OWN / 2, EACH = OWN / 32, COLUMNS = MET / KEYS_EACH;
    constexpr int QUADS = WIDTH / STEP;
    extern __shared__ __align__(128) unsigned char memory[];
    A* query_tile = reinterpret_cast<A*>(memory);
    A* key_tile = query_tile + OWN * pitch<WIDTH>;
    A* value_tile = key_tile + MET * pitch<WIDTH>;
    A* scratch = value_tile + MET * pitch<WIDTH>;

    Owned owned = find_rows<OWN>(cu_seqlens_q, sequences);
    if (owned.rows <= 0) return;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int first_key = cu_seqlens_k[owned.sequence], keys = cu_seqlens_k[owned.sequence + 1] - first_key;
    int end = owned.first + owned.rows, most = most_keys_seen(owned.first, end, keys, positions_q, causal);
    int column = threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS * EACH;             // of the scores
    int quad = threadIdx.x % ROW_THREADS * QUAD, rows = threadIdx.x / ROW_THREADS * QUAD;  // of the sums

    load_tile<OWN, WIDTH, false>(query_tile, query + offset_of(owned.first, head, heads, width), owned.rows, width,
                                 stride);
    A sums[QUAD][QUADS * QUAD] = {}, maximum[EACH], total[EACH], of_rows[QUAD];
    int seen[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        seen[i] = keys_seen(owned.first + row + i, end, keys, positions_q, causal);
        maximum[i] = UNSEEN<A>;
        total[i] = 0;
    }
    for (int first = 0; first < most; first += MET) {
        long long from = offset_of(first_key + first, head, heads, width);
        __syncthreads();  // all threads are done with the previous contents of the tiles
        load_tile<MET, WIDTH, true>(key_tile, key + from, keys - first, width, stride);
        load_tile<MET, WIDTH, false>(value_tile, value + from, keys - first, width, stride);
        __syncthreads();  // the tiles are loaded, and so are the queries
        A weights[EACH][KEYS_EACH], factors[EACH];
        multiply_rows<WIDTH, MET>(weights, query_tile + row * pitch<WIDTH>, key_tile + column * pitch<WIDTH>);
        int at = first + column * KEYS_EACH;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            factors[i] = soften<COLUMNS>(weights[i], seen[i] - at, scale, maximum[i], total[i]);
            keep(weights[i], keys_kept(drops, owned.sequence, owned.first + row + i, at, seen[i] - at));
        }
        put_weights<MET>(scratch + row * pitch<MET> + column * KEYS_EACH, weights);
        spread<COLUMNS>(of_rows, factors);
#pragma unroll
        for (int i = 0; i < QUAD; i++)
#pragma unroll
            for (int c = 0; c < QUADS * QUAD; c++) sums[i][c] *= of_rows[i];
        __syncwarp();  // the weights of these rows are in scratch: neighbours in one warp wrote them
        add_rows<MET, QUADS, false>(sums, scratch + rows * pitch<MET>, value_tile + quad);
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
#pragma unroll
        for (int distance = COLUMNS / 2; distance > 0; distance /= 2)
            total[i] += __shfl_xor_sync(ALL_LANES, total[i], distance);
        int mine = owned.first + row + i;
        long long number = static_cast<long long>(head) * queries + mine;
        if (mine < end && column == 0) log_sums[number] = maximum[i] + logarithm(total[i]);
        total[i] = drop_scale / total[i];
    }
    spread<COLUMNS>(of_rows, total);
    long long to = offset_of(owned.first + rows, head, heads, width);
    write_sums<QUADS>(context + to, sums, of_rows, owned.rows - rows, quad, width, stride);
}
