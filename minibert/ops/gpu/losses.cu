// Softmax cross-entropy over the vocabulary, and how many rows are right.  The other losses: distances.cu.
//
//                                  grid          block             bytes moved per logit, in 16 bits
//   cross_entropy_forward_plain    rows / 128    128               2 * 2, not coalesced
//   cross_entropy_forward          rows          32 or 256         2
//   cross_entropy_backward         rows          32 or 256         2 * 2 (logits, d_logits)
//   correct_rows                   rows          32 or 256         2
//
// The logits over the vocabulary are the largest array of a model, so nothing else of their size is kept for the
// backward pass: it recomputes the probabilities from the logits and one number per row, the log-sum-exp.

// ------------------------------------------------------------------------------------------------ plain

// One thread per row reads the row twice: for the largest logit, which keeps exp from overflowing, and then for
// the sum.
template <typename T>
__global__ void cross_entropy_forward_plain(const T* logits, const int* labels, sum_t<T>* losses, sum_t<T>* log_sums,
                                            int rows, int size) {
    using A = sum_t<T>;
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    const T* of_row = logits + static_cast<long long>(row) * size;
    A maximum = A(of_row[0]), sum = 0;
    for (int j = 1; j < size; j++) maximum = A(of_row[j]) > maximum ? A(of_row[j]) : maximum;
    for (int j = 0; j < size; j++) sum += exponential(A(of_row[j]) - maximum);
    log_sums[row] = maximum + logarithm(sum);
    losses[row] = log_sums[row] - A(of_row[labels[row]]);
}

// ------------------------------------------------------------------------------------------------- fast

// One block per row reads the row once: see LogSum.  losses [rows]: log_sum - logits[label].
template <typename T>
__global__ void cross_entropy_forward(const T* logits, const int* labels, sum_t<T>* losses, sum_t<T>* log_sums,
                                      int size) {
    using A = sum_t<T>;
    __shared__ A max_scratch[MOST_WARPS];
    __shared__ A sum_scratch[MOST_WARPS];
    long long row = blockIdx.x;
    LogSum<A> mine;
    each(logits, row_of_block(row, size), [&](long long, A logit) { mine.add(logit); });
    A log_sum = block_log_sum(mine, max_scratch, sum_scratch);
    if (threadIdx.x == 0) {
        log_sums[row] = log_sum;
        losses[row] = log_sum - A(logits[row * size + labels[row]]);
    }
}

// d_logits = (softmax(logits) - onehot(label)) * d_loss * share;  share = 1 / count, d_loss in device memory.
template <typename T>
__global__ void cross_entropy_backward(const T* logits, const int* labels, const sum_t<T>* log_sums, T* d_logits,
                                       int size, const sum_t<T>* d_loss, sum_t<T> share) {
    using A = sum_t<T>;
    long long row = blockIdx.x, label_index = row * size + labels[row];
    A log_sum = log_sums[row], scale = *d_loss * share;
    // loss = -log softmax(logits)[label] / count: the gradient is the softmax, minus one at the label
    map(logits, d_logits, row_of_block(row, size), [&](long long i, A logit) {
        return scale * (exponential(logit - log_sum) - (i == label_index ? A(1) : A(0)));
    });
}

// correct [rows]: 1 where no logit is higher than the label's, and none before it equal, as in argmax.
template <typename T>
__global__ void correct_rows(const T* logits, const int* labels, int* correct, int size) {
    using A = sum_t<T>;
    __shared__ int scratch[MOST_WARPS];
    long long row = blockIdx.x, label_index = row * size + labels[row];
    A of_label = A(logits[label_index]);
    int higher = 0;
    each(logits, row_of_block(row, size),
         [&](long long i, A logit) { higher += i < label_index ? logit >= of_label : logit > of_label; });
    higher = block_sum(higher, scratch);
    if (threadIdx.x == 0) correct[row] = higher == 0;
}

// loss = share * the sum of losses [rows].  Grid 1, block 256.
template <typename A> __global__ void add_losses(const A* losses, A* loss, int rows, A share) {
    __shared__ A scratch[MOST_WARPS];
    A total = total_of(losses, rows, scratch);
    if (threadIdx.x == 0) *loss = share * total;
}
