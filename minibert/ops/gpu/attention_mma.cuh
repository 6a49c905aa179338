// What attention with mma.sync does with scores, forward and backward: see attention_mma.cu.
//
// Dropout: one call of Philox decides on eight neighbouring keys of a query.  No lane holds eight neighbours, so each
// lane decides on a different eight, and shuffles pass the decisions to the lanes that hold the scores.

constexpr float LOG2_E = 1.4426950408889634f;  // exp(x) = 2 ** (x LOG2_E), which is how the device computes it

// Which of eight neighbouring keys a query keeps: bit j for key 8 * eight + j.
__device__ __forceinline__ unsigned eight_kept(const Drops& drops, int eight, int position, int sequence) {
    Words words = philox(eight, position, sequence, drops.site, drops.key0, drops.key1);
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < DECISIONS; j++) bits |= unsigned(kept(words, j, drops.threshold)) << j;
    return bits;
}

// Rows are queries, columns are keys from `first` on: whether each of a lane's scores is kept, bit 4 j + i for
// at[i] of sums j.  position0, position1: of the lane's two queries.
template <int COUNT>
__device__ __forceinline__ unsigned kept_by_queries(const Drops& drops, int first, int position0, int position1,
                                                    int sequence) {
    static_assert(COUNT % 4 == 0 && COUNT <= 8, "four lanes settle 32 keys; the bits fit in 32");
    int lane = threadIdx.x % WARP, t = lane % 4;
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < COUNT; j += 4) {
        unsigned settled = eight_kept(drops, first / 8 + j + t, position0, sequence) |
                           eight_kept(drops, first / 8 + j + t, position1, sequence) << 8;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned told = __shfl_sync(ALL_LANES, settled, lane / 4 * 4 + i) >> 2 * t;
            bits |= (told & 3u | (told >> 8 & 3u) << 2) << 4 * (j + i);
        }
    }
    return bits;
}

// Rows are keys from `first` on, columns are queries: the same bits.  position: lane i holds that of query i.
template <int COUNT>
__device__ __forceinline__ unsigned kept_by_keys(const Drops& drops, int first, int position, int sequence) {
    static_assert(COUNT % 2 == 0 && COUNT <= 4, "32 lanes settle 16 queries and 16 keys; a warp has 32 positions");
    int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < COUNT; j += 2) {
        int its_position = __shfl_sync(ALL_LANES, position, 8 * j + lane % SIDE);
        unsigned settled = eight_kept(drops, first / 8 + lane / SIDE, its_position, sequence);
        settled |= __shfl_xor_sync(ALL_LANES, settled, SIDE) << 8;  // in the lanes below 16, all of a query's 16 keys
#pragma unroll
        for (int i = 0; i < 4; i++) {  // of sums j + i / 2, column i % 2
            unsigned told = __shfl_sync(ALL_LANES, settled, 8 * (i / 2) + 2 * t + i % 2) >> g;
            bits |= (told & 1u | (told >> 8 & 1u) << 2) << (4 * (j + i / 2) + i % 2);
        }
    }
    return bits;
}

// Scores that are not kept become zero.
template <int COUNT> __device__ __forceinline__ void drop_scores(Sums (&scores)[COUNT], unsigned kept) {
#pragma unroll
    for (int j = 0; j < COUNT; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) scores[j].at[i] = kept >> (4 * j + i) & 1 ? scores[j].at[i] : 0.0f;
}

// From the gradient of a probability after dropout to the gradient of its score.  mean: of the query's gradients
// under its own probabilities.
__device__ __forceinline__ float differentiate(float d_dropped, float probability, bool kept, float drop_scale,
                                               float mean) {
    // dropped = probabilities * mask
    float d_probability = kept ? d_dropped * drop_scale : 0.0f;
    // probabilities = softmax(scores)
    return probability * (d_probability - mean);
}
