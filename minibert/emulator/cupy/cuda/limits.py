"""The limit on a block's shared memory for each compute capability.

Source: CUDA C++ Programming Guide, technical specifications.
"""

# compute capability -> KiB of shared memory that a block can request
MOST_SHARED = {"70": 96, "75": 64, "80": 163, "86": 99, "89": 99, "90": 227, "100": 227, "120": 99}


def most_shared(compute_capability: str) -> int:
    """Return the maximum number of bytes of shared memory that a block can request."""
    return MOST_SHARED[compute_capability] << 10
