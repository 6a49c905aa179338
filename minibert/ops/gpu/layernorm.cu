// Layer normalisation, alone and after a residual connection with dropout; forward, backward.
//
//     sum = residual + dropout(x)      x_hat = (sum - mean) * rstd      y = x_hat * weight + bias
//
//                             grid                        block             bytes moved per element, in 16 bits
//   layernorm_forward_plain   rows / 128                  128               4 * 2 (x three times, y), not coalesced
//   layernorm_forward         rows / warps                (32, warps)       2 * 2 (x, residual) + 2 * 2 (y, x_hat)
//   layernorm_backward        rows / warps                (32, warps)       2 * 2 (d_y, x_hat), 2 * 2 (d_residual, d_x)
//   layernorm_parameters      (columns / 32 packs, slabs) (32, SLICES)      2 * 2 (d_y, x_hat)
//
// Kept for the backward pass: x_hat and rstd.  x is not needed then, so this costs no extra memory.

// ------------------------------------------------------------------------------------------------ plain

// One thread per row, three passes.  Correct, but slow: the 32 threads of a warp read 32 elements at a time that
// are `width` apart, so access is not coalesced; and a batch of 4,096 tokens keeps few warps per multiprocessor busy.
template <typename T>
__global__ void layernorm_forward_plain(const T* x, const T* weight, const T* bias, T* y, long long rows, int width,
                                        sum_t<T> eps) {
    using A = sum_t<T>;
    long long row = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    A sum = 0, squares = 0;
    for (int j = 0; j < width; j++) sum += A(x[row * width + j]);
    A mean = sum / A(width);
    for (int j = 0; j < width; j++) squares += (A(x[row * width + j]) - mean) * (A(x[row * width + j]) - mean);
    A rstd = inverse_root(squares / A(width) + eps);
    for (int j = 0; j < width; j++)
        y[row * width + j] = T((A(x[row * width + j]) - mean) * rstd * A(weight[j]) + A(bias[j]));
}

// ------------------------------------------------------------------------------------------------- fast

// One warp per row: neighbouring threads read neighbouring packs.  The sums stay in shared memory in full precision,
// so that the row is read once; each thread reads back only what it wrote itself, and no barrier is needed.
template <typename T, bool ALIGNED>
__global__ void layernorm_forward(const T* x, const T* residual, const T* weight, const T* bias, T* y, T* x_hat,
                                  sum_t<T>* rstds, long long rows, int width, sum_t<T> eps, int add_residual,
                                  sum_t<T> scale, const int* sequences, const int* positions, unsigned key0,
                                  unsigned key1, unsigned site, unsigned threshold) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    extern __shared__ __align__(128) unsigned char scratch[];
    Drops drops = {sequences, positions, key0, key1, site, threshold};
    long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    int first = threadIdx.x * N, stride = WARP * N, steps = (width + stride - 1) / stride;
    A* mine = reinterpret_cast<A*>(scratch) + threadIdx.y * steps * stride + threadIdx.x;  // every 32nd element
    long long start = row * width;

    A sum = 0;
    for (int j = first, step = 0; j < width; j += stride, step++) {
        Pack<T, N> pack = load_pack<N>(x + start + j);
        A values[N];
#pragma unroll
        for (int k = 0; k < N; k++) values[k] = A(pack.at[k]);
        if (threshold) drop(values, drops, scale, row, j);
        if (add_residual) {
            Pack<T, N> residual_pack = load_pack<N>(residual + start + j);
#pragma unroll
            for (int k = 0; k < N; k++) values[k] += A(residual_pack.at[k]);
        }
#pragma unroll
        for (int k = 0; k < N; k++) {
            mine[(step * N + k) * WARP] = values[k];
            sum += values[k];
        }
    }
    A mean = warp_sum(sum) / A(width);

    // the variance takes a second pass: as a difference, mean(x * x) - mean * mean, it could lose all digits
    A squares = 0;
    for (int j = first, step = 0; j < width; j += stride, step++) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            A centred = mine[(step * N + k) * WARP] - mean;
            squares += centred * centred;
        }
    }
    A rstd = inverse_root(warp_sum(squares) / A(width) + eps);

    for (int j = first, step = 0; j < width; j += stride, step++) {
        Pack<T, N> weights = load_pack<N>(weight + j), biases = load_pack<N>(bias + j), y_pack, x_hat_pack;
#pragma unroll
        for (int k = 0; k < N; k++) {
            A normal = (mine[(step * N + k) * WARP] - mean) * rstd;
            x_hat_pack.at[k] = T(normal);
            y_pack.at[k] = T(normal * A(weights.at[k]) + A(biases.at[k]));
        }
        store_pack<N>(x_hat + start + j, x_hat_pack);
        store_pack<N>(y + start + j, y_pack);
    }
    if (threadIdx.x == 0) rstds[row] = rstd;
}

// d_y -> d_residual, and d_x if there is dropout.  One warp per row reads the row twice, the second time
// from the cache.
template <typename T, bool ALIGNED>
__global__ void layernorm_backward(const T* d_y, const T* x_hat, const sum_t<T>* rstds, const T* weight, T* d_residual,
                                   T* d_x, long long rows, int width, sum_t<T> scale, const int* sequences,
                                   const int* positions, unsigned key0, unsigned key1, unsigned site,
                                   unsigned threshold) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    Drops drops = {sequences, positions, key0, key1, site, threshold};
    long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    int first = threadIdx.x * N, stride = WARP * N;
    long long start = row * width;

    // x_hat = (sum - mean) * rstd: the sum reaches x_hat directly, through the mean, and through the variance
    A through_mean = 0, through_variance = 0;
    for (int j = first; j < width; j += stride) {
        Pack<T, N> d_ys = load_pack<N>(d_y + start + j), normals = load_pack<N>(x_hat + start + j);
        Pack<T, N> weights = load_pack<N>(weight + j);
#pragma unroll
        for (int k = 0; k < N; k++) {
            A d_x_hat = A(d_ys.at[k]) * A(weights.at[k]);
            through_mean += d_x_hat;
            through_variance += d_x_hat * A(normals.at[k]);
        }
    }
    through_mean = warp_sum(through_mean) / A(width);
    through_variance = warp_sum(through_variance) / A(width);

    A rstd = rstds[row];
    for (int j = first; j < width; j += stride) {
        Pack<T, N> d_ys = load_pack<N>(d_y + start + j), normals = load_pack<N>(x_hat + start + j);
        Pack<T, N> weights = load_pack<N>(weight + j), out;
        A d_sum[N];
#pragma unroll
        for (int k = 0; k < N; k++) {
            A d_x_hat = A(d_ys.at[k]) * A(weights.at[k]);
            d_sum[k] = rstd * (d_x_hat - through_mean - A(normals.at[k]) * through_variance);
            out.at[k] = T(d_sum[k]);
        }
        // sum = residual + dropout(x) hands its gradient to both of its terms
        store_pack<N>(d_residual + start + j, out);
        if (threshold) {
            drop(d_sum, drops, scale, row, j);
#pragma unroll
            for (int k = 0; k < N; k++) out.at[k] = T(d_sum[k]);
            store_pack<N>(d_x + start + j, out);
        }
    }
}

// Each slab's contribution to d_weight and d_bias: partial [slabs, 2 * width], d_weight first.  columns.cu adds up
// the slabs: two stages in a fixed order, whereas atomics would add in a different order each time.
template <typename T, bool ALIGNED>
__global__ void layernorm_parameters(const T* d_y, const T* x_hat, sum_t<T>* partial, long long rows, int width,
                                     int slab) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    __shared__ A weight_scratch[scratch_size<N>];
    __shared__ A bias_scratch[scratch_size<N>];
    long long begin = static_cast<long long>(blockIdx.y) * slab, end = begin + slab < rows ? begin + slab : rows;
    int column = first_column_of_thread<N>(blockIdx.x);
    A d_weight[N] = {}, d_bias[N] = {};
    if (column < width) {
        for (long long row = begin + threadIdx.y; row < end; row += SLICES) {
            Pack<T, N> d_ys = load_pack<N>(d_y + row * width + column);
            Pack<T, N> normals = load_pack<N>(x_hat + row * width + column);
#pragma unroll
            for (int k = 0; k < N; k++) {
                // y = x_hat * weight + bias
                d_weight[k] += A(d_ys.at[k]) * A(normals.at[k]);
                d_bias[k] += A(d_ys.at[k]);
            }
        }
    }
    put_sums(weight_scratch, d_weight);
    put_sums(bias_scratch, d_bias);
    __syncthreads();
    int first = first_column_of_block<N>(blockIdx.x);
    A* out = partial + static_cast<long long>(blockIdx.y) * 2 * width + first;
    for (unsigned i = threadIdx.y * WARP + threadIdx.x; i < WARP * N; i += WARP * SLICES) {
        if (first + static_cast<int>(i) >= width) break;
        out[i] = sum_of_slices<N>(weight_scratch, i);
        out[width + i] = sum_of_slices<N>(bias_scratch, i);
    }
}
