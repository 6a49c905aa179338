"""How Numba's threads wait for each other: asleep.

By default, a thread of OpenMP's GNU library that has finished its part of a loop reads a flag again and again until the
others have finished, too.  On a quiet machine that saves a little time.  Where other programs use the cores, a thread
that waits in this way takes a core from the one that it waits for, and a training step can take many times as long.
`benchmarks/busy_cores.py` measures both.
"""

import os
from importlib import import_module

VARIABLE = "OMP_WAIT_POLICY"  # OpenMP 5.2, section 21.1.9; a library reads it once, when it is loaded


def load_openmp() -> None:
    """Load Numba's OpenMP layer, if it has one, so that its threads sleep while they wait.

    A user's own OMP_WAIT_POLICY has precedence.  Programs that this one starts do not inherit the setting.
    """
    given = os.environ.get(VARIABLE)
    os.environ.setdefault(VARIABLE, "PASSIVE")
    try:
        import_module("numba.np.ufunc.omppool")
    except ImportError:  # no OpenMP on this system: Numba uses its own threads or TBB
        pass
    finally:
        if given is None:
            del os.environ[VARIABLE]
