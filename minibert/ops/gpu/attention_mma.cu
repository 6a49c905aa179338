// Attention for 16-bit types with mma.sync: the forward pass.  The backward pass is in a separate file.
// See warp_mma.cuh for the instructions, attention.cuh for which block does what, attention_tensor_cores.cu for the same
// with wmma, which is shorter and reveals less about the device.
//
// context = softmax(q @ k.T / sqrt(D)) @ v, the softmax computed *online* (Milakov and Gimelshein 2018; Dao et al.
// 2022, algorithm 1; Dao 2023, section 3): keys are processed tile by tile, and sums under an old maximum are
// rescaled by exp(old maximum - new maximum).
//
//   grid, block    (tiles of ROWS queries, heads) blocks of four warps, each warp with its own sixteen queries
//   registers      a warp's queries, its scores for a tile of keys, its sums: none of them goes through memory
//   shared memory  two stages, each a tile of keys and one of values: while the warps compute with one stage, the next
//                  tile is copied into the other.  Before that, the queries pass through it into registers.
//   bytes moved    a block reads its queries once, and all keys and values of its sequence: T / ROWS times each in all

constexpr int KEYS = 64;        // per tile
constexpr float UNSEEN = -1e30f;  // below every score; it avoids -inf - -inf = NaN

// One step of the online softmax: turns a lane's scores of two queries into exp(score - maximum).  maximum: of all
// scores so far, for each query; totals: of this lane's own weights so far.  The sums so far are rescaled to the new
// maximum.  scale: of the scores, times LOG2_E.
template <int COUNT, int SUMS>
__device__ __forceinline__ void soften(Sums (&scores)[COUNT], Sums (&sums)[SUMS], float scale, float (&maximum)[2],
                                       float (&totals)[2]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float before = maximum[half];
#pragma unroll
        for (int j = 0; j < COUNT; j++)
            maximum[half] = fmaxf(maximum[half], fmaxf(scores[j].at[2 * half], scores[j].at[2 * half + 1]));
        // four lanes share a query's keys
        maximum[half] = fmaxf(maximum[half], __shfl_xor_sync(ALL_LANES, maximum[half], 1));
        maximum[half] = fmaxf(maximum[half], __shfl_xor_sync(ALL_LANES, maximum[half], 2));
        float factor = power_of_two((before - maximum[half]) * scale), shift = maximum[half] * scale;
        totals[half] *= factor;
#pragma unroll
        for (int j = 0; j < COUNT; j++)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                scores[j].at[i] = power_of_two(scores[j].at[i] * scale - shift);
                totals[half] += scores[j].at[i];  // dropout comes after the softmax: the denominator includes all
            }
#pragma unroll
        for (int j = 0; j < SUMS; j++) sums[j].at[2 * half] *= factor, sums[j].at[2 * half + 1] *= factor;
    }
}

// __launch_bounds__: threads per block, and how many blocks should fit on a multiprocessor.  That determines how
// many registers a thread may use: 168 for three blocks, 255 for two.
template <typename T, int WIDTH>
__global__ void __launch_bounds__(WARPS * WARP, WIDTH <= 64 ? 3 : 2)
attention_forward(const T* query, const T* key, const T* value, T* context, float* log_sums, const int* cu_seqlens_q,
                  const int* cu_seqlens_k, const int* positions_q, int sequences, int queries, int width, int causal,
                  float scale, float drop_scale, const int* drop_sequences, const int* drop_positions, unsigned key0,
                  unsigned key1, unsigned site, unsigned threshold) {
    constexpr int PITCH = pitch<T, WIDTH>, STAGE = 2 * KEYS * PITCH;
    extern __shared__ __align__(128) unsigned char memory[];
    T* stages = reinterpret_cast<T*>(memory);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;

    Owned owned = find_rows<ROWS>(cu_seqlens_q, sequences);
    if (owned.rows <= 0) return;
    int first_key = cu_seqlens_k[owned.sequence], keys = cu_seqlens_k[owned.sequence + 1] - first_key;
    int head = blockIdx.y, heads = gridDim.y, stride = heads * width;
    Drops drops = {drop_sequences, drop_positions, key0, key1, site + head, threshold};
    int end = owned.first + owned.rows, mine = owned.first + warp * SIDE + g;  // the lane's queries: mine, mine + 8
    int most = most_keys_seen(owned.first, end, keys, positions_q, causal);
    int seen[2], positions[2] = {0, 0}, sequence = 0;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        // a nonexistent query sees one key too, and computes with zeros
        seen[half] = max(keys_seen(mine + 8 * half, end, keys, positions_q, causal), 1);
        if (threshold != 0) positions[half] = mine + 8 * half < end ? drop_positions[mine + 8 * half] : 0;
    }
    if (threshold != 0) sequence = drop_sequences[owned.sequence];

    auto fetch = [&](int stage, int first) {
        long long from = offset_of(first_key + first, head, heads, width);
        fetch_tile<KEYS, WIDTH>(stages + stage * STAGE, key + from, keys - first, width, stride);
        fetch_tile<KEYS, WIDTH>(stages + stage * STAGE + KEYS * PITCH, value + from, keys - first, width, stride);
        commit_copies();
    };
    T* own = stages + STAGE;  // the second stage, while it is free
    fetch_tile<ROWS, WIDTH>(own, query + offset_of(owned.first, head, heads, width), owned.rows, width, stride);
    commit_copies();
    fetch(0, 0);
    wait_copies<1>();  // this thread's queries have arrived
    __syncthreads();   // and so have those of the others
    Strip<T, WIDTH, true> strip(own + warp * SIDE * PITCH);
    Sums sums[WIDTH / 8];
    clear(sums);
    float maximum[2] = {UNSEEN, UNSEEN}, totals[2] = {0.0f, 0.0f};
    for (int first = 0, stage = 0; first < most; first += KEYS, stage ^= 1) {
        __syncthreads();  // all warps are done with the previous contents of the other stage
        if (most > first + KEYS) fetch(stage ^ 1, first + KEYS); else commit_copies();
        wait_copies<1>();  // this thread's part of the tile has arrived
        __syncthreads();   // and so have those of the others
        const T* key_tile = stages + stage * STAGE;
        Sums scores[KEYS / 8];
        multiply_by_transposed<KEYS>(scores, strip, key_tile);
        if (first + KEYS > min(seen[0], seen[1])) {
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    scores[j].at[i] = first + 8 * j + 2 * t + i % 2 < seen[i / 2] ? scores[j].at[i] : UNSEEN;
        }
        soften(scores, sums, scale * LOG2_E, maximum, totals);
        if (threshold != 0)
            drop_scores(scores, kept_by_queries<KEYS / 8>(drops, first, positions[0], positions[1], sequence));
        Left weights[KEYS / SIDE];
        as_left<T>(weights, scores);
        add_product<KEYS, WIDTH>(sums, weights, key_tile + KEYS * PITCH);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        totals[half] += __shfl_xor_sync(ALL_LANES, totals[half], 1);
        totals[half] += __shfl_xor_sync(ALL_LANES, totals[half], 2);
    }
    auto write = [&](auto half) {
        constexpr int HALF = decltype(half)::value;
        int row = mine + 8 * HALF;
        if (row < end && t == 0)
            log_sums[static_cast<long long>(head) * queries + row] = maximum[HALF] * scale + logarithm(totals[HALF]);
        T* to = context + offset_of(row, head, heads, width);
        write_row<HALF, WIDTH>(to, sums, drop_scale / totals[HALF], width, row < end);
    };
    write(Half<0>());
    write(Half<1>());
}
