"""Names of CUDA that the emulator does not know: what to use instead, for the message of a failed compilation."""

import re

from minibert.emulator.source import Source

PHILOX = "only the Philox generator is emulated: use curandStatePhilox4_32_10_t"
BLOCKS = "blocks run one after the other here: end the kernel and launch another one where all blocks must wait"
SHUFFLES = "use tiled_partition<32>, or __shfl_sync with a mask"
UNSUPPORTED = {
    "curandState": f"it is the XORWOW generator, but {PHILOX}",
    "curandState_t": f"it is the XORWOW generator, but {PHILOX}",
    "curandStateXORWOW_t": PHILOX,
    "curandStateMRG32k3a_t": PHILOX,
    "curandStateMRG32k3a": PHILOX,
    "curandStateMtgp32_t": PHILOX,
    "curandStateSobol32_t": PHILOX,
    "curandStateSobol64_t": PHILOX,
    "curand_uniform_double": "use curand_uniform, which returns a float",
    "curand_normal_double": "use curand_normal, which returns a float",
    "curand_log_normal": "use expf(curand_normal(...))",
    "curand_poisson": "draw it from curand_uniform",
    "this_grid": BLOCKS,
    "grid_group": BLOCKS,
    "this_cluster": BLOCKS,
    "cluster_group": BLOCKS,
    "cudaLaunchCooperativeKernel": BLOCKS,
    "coalesced_threads": SHUFFLES,
    "coalesced_group": SHUFFLES,
    "memcpy_async": "copy in a loop, then synchronise",
    "cudaMemcpyToSymbol": "pass the array as a kernel argument",
    "cudaMemcpyFromSymbol": "pass the array as a kernel argument",
    "__managed__": "allocate the array with cudaMallocManaged, and pass it as a kernel argument",
    "cudaTextureObject_t": "read the array through a pointer",
}
NAME = re.compile(rf"\b(?:{'|'.join(map(re.escape, UNSUPPORTED))})\b")


def explain_refusal(message: str, source: Source) -> str | None:
    """Return a line about the first unsupported name of the source that a compiler's message mentions, or None.

    The names are looked for only once the compiler has failed: they may stand under an #ifdef that leaves them out.
    """
    for match in NAME.finditer(source.code):
        if re.search(rf"\b{match[0]}\b", message):
            return f"{source.line_of(match.start())}: {match[0]} is not emulated; {UNSUPPORTED[match[0]]}"
    return None
