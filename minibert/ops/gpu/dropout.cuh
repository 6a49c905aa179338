// Dropout inside a kernel: which neighbours of a row are kept.  See minibert/ops/dropout.py for which bits decide.

// One dropout, as kernels receive it.  A threshold of 0 keeps every value, and the arrays are not read.
struct Drops {
    const int* sequences;  // [rows], the number of each row's sequence in the global batch
    const int* positions;  // [rows], each row's position in its sequence
    unsigned key0, key1, site, threshold;
};

// A pack of N elements of a row, starting at `feature`: those that are dropped become zero, the others are scaled.
template <int N, typename A>
__device__ __forceinline__ void drop(A (&values)[N], const Drops& drops, A scale, long long row, int feature) {
    // a pack lies within one group of eight neighbours, since its size divides eight
    Words words = philox(feature / DECISIONS, drops.positions[row], drops.sequences[row], drops.site, drops.key0,
                         drops.key1);
    int first = N == DECISIONS ? 0 : feature % DECISIONS;
#pragma unroll
    for (int k = 0; k < N; k++) values[k] = kept(words, first + k, drops.threshold) ? values[k] * scale : A(0);
}
