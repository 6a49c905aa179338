"""Orthogonalising matrices by Newton-Schulz iterations, the heart of the optimiser Muon."""

from collections.abc import Sequence

import numpy as np

from minibert.ops.optimizer import COEFFICIENTS, ITERATIONS, SMALLEST_NORM


def orthogonalise(matrices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each matrix U S Vᵀ, a matrix with the same singular vectors and with singular values near 1.

    matrices: each [r, c].  X Xᵀ X has the cubes of the singular values of X; so a X + b X Xᵀ X + c (X Xᵀ)² X applies
    the polynomial a s + b s³ + c s⁵ to each of them, and none has to be computed.  At first the matrix is divided by
    its Frobenius norm, so that no singular value exceeds 1.  A matrix of zeros remains zero.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """
    a, b, c = COEFFICIENTS
    results = []
    for matrix in matrices:
        is_wide = matrix.shape[0] <= matrix.shape[1]
        x = matrix if is_wide else matrix.T  # X Xᵀ is smaller if the rows are the shorter side
        x = x / max(float(np.linalg.norm(x)), SMALLEST_NORM)
        for _ in range(ITERATIONS):
            squares = x @ x.T
            x = a * x + (b * squares + c * (squares @ squares)) @ x
        results.append(x if is_wide else x.T)
    return results
