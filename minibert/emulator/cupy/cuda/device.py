"""What CuPy keeps for each device: here only a cuBLAS handle, which is a dummy."""

__all__ = ["get_cublas_handle"]


def get_cublas_handle() -> int:
    return 1
