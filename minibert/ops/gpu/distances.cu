// Losses that compare two arrays: squared error, Kullback-Leibler divergence, cosine.
//
//                            grid                  block        bytes moved per element, in 16 bits
//   squared_errors           up to 4096            256          2 * 2
//   mse_backward             up to 4096            256          3 * 2
//   kl_divergence_forward    rows                  32 or 256    2 * 2, twice (the second time from the cache)
//   kl_divergence_backward   rows                  32 or 256    3 * 2
//   cosine_forward           rows / 4              128          2 * 2, twice
//   cosine_backward          rows / 4              128          3 * 2
//
// share = 1 / count, times any other factor of the loss; d_loss is in device memory.

// partial [blocks]: each block's contribution to the sum of (prediction - target)**2.
template <typename T>
__global__ void squared_errors(const T* prediction, const T* target, sum_t<T>* partial, long long size) {
    using A = sum_t<T>;
    __shared__ A scratch[MOST_WARPS];
    A sum = 0;
    each(prediction, target, whole(size),
         [&](long long, A predicted, A wanted) { sum += (predicted - wanted) * (predicted - wanted); });
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <typename T>
__global__ void mse_backward(const T* prediction, const T* target, T* d_prediction, long long size,
                             const sum_t<T>* d_loss, sum_t<T> share) {
    using A = sum_t<T>;
    // loss = (prediction - target)**2 / count
    A scale = A(2) * *d_loss * share;
    map(prediction, target, d_prediction, whole(size),
        [&](long long, A predicted, A wanted) { return scale * (predicted - wanted); });
}

// losses [rows]: the divergence of the softened distributions; cooling = 1 / temperature.
template <typename T>
__global__ void kl_divergence_forward(const T* student, const T* teacher, sum_t<T>* losses, sum_t<T>* student_log_sums,
                                      sum_t<T>* teacher_log_sums, int size, sum_t<T> cooling) {
    using A = sum_t<T>;
    __shared__ A scratch[5 * MOST_WARPS];  // one for each of the five sums and maxima
    long long row = blockIdx.x;
    Share share = row_of_block(row, size);
    LogSum<A> of_student, of_teacher;
    each(student, teacher, share, [&](long long, A student_logit, A teacher_logit) {
        of_student.add(student_logit * cooling);
        of_teacher.add(teacher_logit * cooling);
    });
    A student_log_sum = block_log_sum(of_student, scratch, scratch + MOST_WARPS);
    A teacher_log_sum = block_log_sum(of_teacher, scratch + 2 * MOST_WARPS, scratch + 3 * MOST_WARPS);
    A sum = 0;
    each(student, teacher, share, [&](long long, A student_logit, A teacher_logit) {
        A log_student = student_logit * cooling - student_log_sum;
        A log_teacher = teacher_logit * cooling - teacher_log_sum;
        sum += exponential(log_teacher) * (log_teacher - log_student);
    });
    sum = block_sum(sum, scratch + 4 * MOST_WARPS);
    if (threadIdx.x == 0) {
        losses[row] = sum;
        student_log_sums[row] = student_log_sum;
        teacher_log_sums[row] = teacher_log_sum;
    }
}

template <typename T>
__global__ void kl_divergence_backward(const T* student, const T* teacher, const sum_t<T>* student_log_sums,
                                       const sum_t<T>* teacher_log_sums, T* d_student, int size, sum_t<T> cooling,
                                       const sum_t<T>* d_loss, sum_t<T> share) {
    using A = sum_t<T>;
    long long row = blockIdx.x;
    A student_log_sum = student_log_sums[row], teacher_log_sum = teacher_log_sums[row], scale = *d_loss * share;
    // d KL / d log_student = -teacher; through the log-softmax: student - teacher; through logits / temperature
    map(student, teacher, d_student, row_of_block(row, size), [&](long long, A student_logit, A teacher_logit) {
        return scale * (exponential(student_logit * cooling - student_log_sum) -
                        exponential(teacher_logit * cooling - teacher_log_sum));
    });
}

// One warp per row computes its loss 1 - cosine, the two norms, and the cosine.
template <typename T>
__global__ void cosine_forward(const T* x, const T* target, sum_t<T>* losses, sum_t<T>* x_norms, sum_t<T>* target_norms,
                               sum_t<T>* cosines, long long rows, int width) {
    using A = sum_t<T>;
    long long row = static_cast<long long>(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;
    Share share = row_of_warp(row, width);
    A x_squares = 0, target_squares = 0;
    each(x, target, share, [&](long long, A x, A wanted) {
        x_squares += x * x;
        target_squares += wanted * wanted;
    });
    A x_norm = square_root(warp_sum(x_squares)), target_norm = square_root(warp_sum(target_squares));
    // read the row again, from the cache: the product of two norms could overflow where their quotients do not
    A cosine = 0;
    each(x, target, share, [&](long long, A x, A wanted) { cosine += (x / x_norm) * (wanted / target_norm); });
    cosine = warp_sum(cosine);
    if (threadIdx.x % WARP == 0) {
        losses[row] = A(1) - cosine;
        x_norms[row] = x_norm;
        target_norms[row] = target_norm;
        cosines[row] = cosine;
    }
}

template <typename T>
__global__ void cosine_backward(const T* x, const T* target, const sum_t<T>* x_norms, const sum_t<T>* target_norms,
                                const sum_t<T>* cosines, T* d_x, long long rows, int width, const sum_t<T>* d_loss,
                                sum_t<T> share) {
    using A = sum_t<T>;
    long long row = static_cast<long long>(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;
    A x_norm = x_norms[row], target_norm = target_norms[row], cosine = cosines[row];
    A scale = *d_loss * share / x_norm;
    // cosine = x_unit . target_unit; only the component of target_unit orthogonal to x matters
    map(x, target, d_x, row_of_warp(row, width),
        [&](long long, A x, A wanted) { return scale * (x / x_norm * cosine - wanted / target_norm); });
}
