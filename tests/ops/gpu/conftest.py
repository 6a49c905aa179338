"""The tests of this folder can run on a kernel file with a planted bug: see mutants.py."""

import os

from minibert.ops.gpu.kernels import CudaFile

from tests.ops.gpu.mutants import VARIABLE, mutants_of

if VARIABLE in os.environ:
    file, line, number = os.environ[VARIABLE].split(":")
    (mutant,) = (m for m in mutants_of(file) if (m.line, m.number) == (int(line), int(number)))
    honest = CudaFile.read

    def read(name: str) -> str:
        return mutant.plant(honest(name)) if name == mutant.file else honest(name)

    CudaFile.read = staticmethod(read)
