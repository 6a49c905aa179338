"""What CuPy keeps for each device: here the handle of cuBLAS, which stands for nothing."""

__all__ = ["get_cublas_handle"]


def get_cublas_handle() -> int:
    return 1
