// AdamW over the flat buffers of a model, the norm of its gradients, and loss scaling.
//
//                    grid             block    bytes moved per parameter, in float32
//   adamw            up to 4096       256      4 * 4 read (value, gradient, moments), 1 (mask), 3 * 4 written;
//                                              and 2 for the 16-bit copy that the next forward pass reads
//   squares_of_part  up to 4096       256      4
//   finish_norm      1                256
//   update_scale     1                1
//
// T is the type of the 16-bit copy; if there is none, it is the type of the values, sum_t<T>.

// The scalars of a step.
template <typename A> struct Step {
    A factor, learning_rate, keep1, keep2, eps, weight_decay, correction1, correction2;
};

// One step for N neighbouring parameters, starting at index i.
template <typename T, int N>
__device__ __forceinline__ void update(sum_t<T>* values, const sum_t<T>* gradients, sum_t<T>* first_moment,
                                       sum_t<T>* second_moment, const bool* decayed, T* copy,
                                       const Step<sum_t<T>>& step, long long i) {
    using A = sum_t<T>;
    Pack<A, N> value = load_pack<N>(values + i), gradient = load_pack<N>(gradients + i);
    Pack<A, N> first = load_pack<N>(first_moment + i), second = load_pack<N>(second_moment + i);
    Pack<bool, N> decays = load_pack<N>(decayed + i);
    Pack<T, N> rounded;
#pragma unroll
    for (int k = 0; k < N; k++) {
        A slope = gradient.at[k] * step.factor;
        first.at[k] += step.keep1 * (slope - first.at[k]);
        second.at[k] += step.keep2 * (slope * slope - second.at[k]);
        A change = (first.at[k] / step.correction1) / (square_root(second.at[k] / step.correction2) + step.eps);
        A decay = decays.at[k] ? step.weight_decay * value.at[k] : A(0);
        value.at[k] -= step.learning_rate * (change + decay);
        rounded.at[k] = T(value.at[k]);
    }
    store_pack<N>(values + i, value);
    store_pack<N>(first_moment + i, first);
    store_pack<N>(second_moment + i, second);
    if constexpr (sizeof(T) != sizeof(A)) store_pack<N>(copy + i, rounded);
}

template <typename A> __device__ __forceinline__ bool is_finite(A x) { return x - x == A(0); }

// norm, scale: numbers in device memory; skip: 1 if the step is skipped when the norm is not finite; wide: 1 if all
// arrays are aligned to vectors.  keep1 = 1 - beta1, keep2 = 1 - beta2.
template <typename T>
__global__ void adamw(sum_t<T>* values, const sum_t<T>* gradients, sum_t<T>* first_moment, sum_t<T>* second_moment,
                      const bool* decayed, T* copy, long long size, const sum_t<T>* norm,
                      const sum_t<T>* scale, int skip, sum_t<T> max_norm, sum_t<T> learning_rate, sum_t<T> keep1,
                      sum_t<T> keep2, sum_t<T> eps, sum_t<T> weight_decay, sum_t<T> correction1, sum_t<T> correction2,
                      int wide) {
    using A = sum_t<T>;
    if (skip && !is_finite(*norm)) return;  // the scale was too high for some gradient
    A factor = A(1) / *scale, true_norm = *norm * factor;
    if (true_norm > max_norm) factor *= max_norm / true_norm;
    Step<A> step = {factor, learning_rate, keep1, keep2, eps, weight_decay, correction1, correction2};
    constexpr int N = Vec<A>::size;
    long long vectors = wide ? size / N : 0;
    Share share = whole(size);
    for (long long i = share.thread; i < vectors; i += share.threads)
        update<T, N>(values, gradients, first_moment, second_moment, decayed, copy, step, i * N);
    for (long long i = vectors * N + share.thread; i < size; i += share.threads)
        update<T, 1>(values, gradients, first_moment, second_moment, decayed, copy, step, i);
}

// partial [blocks]: the sum of squares of each block's share of x [size].
template <typename A> __global__ void squares_of_part(const A* x, A* partial, long long size) {
    __shared__ A scratch[MOST_WARPS];
    A sum = 0;
    each(x, whole(size), [&](long long, A x) { sum += x * x; });
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// norm = the root of the sum of partial [blocks].  Grid 1, block 256.
template <typename A> __global__ void finish_norm(const A* partial, A* norm, int blocks) {
    __shared__ A scratch[MOST_WARPS];
    A total = total_of(partial, blocks, scratch);
    if (threadIdx.x == 0) *norm = square_root(total);
}

// Dynamic loss scaling (Micikevicius et al. 2018, section 3.2), one thread: halves the scale after a step with a
// gradient that is not finite, doubles it after `interval` good steps in a row.
__global__ void update_scale(float* scale, int* good_steps, const float* norm, int interval, float lowest,
                             float most) {
    if (!is_finite(*norm)) {
        float half = *scale * 0.5f;
        *scale = half > lowest ? half : lowest;
        *good_steps = 0;
    } else if (*good_steps + 1 >= interval) {
        float twice = *scale * 2.0f;
        *scale = twice < most ? twice : most;
        *good_steps = 0;
    } else {
        *good_steps += 1;
    }
}
