"""`python -m minibert.emulator run FILE.cu [arguments]`: compile a CUDA program and run it on the CPU."""

import argparse
import sys
from pathlib import Path

from minibert.emulator.errors import CudaError
from minibert.emulator.modes import ORDERS, Mode
from minibert.emulator.program import run_program


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minibert.emulator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a .cu program, with its main(), on the CPU")
    run.add_argument("--fast", action="store_true", help="do not check each access to memory")
    run.add_argument("--order", choices=ORDERS, default="forward", help="of threads and blocks")
    run.add_argument("--seed", type=int, default=0, help="of the random order")
    run.add_argument("--seconds", type=int, default=600, help="limit on the CPU time of a launch; 0: none")
    run.add_argument("file", type=Path, help="the program")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="what main() gets as its arguments")
    options = parser.parse_args()
    mode = Mode(checked=not options.fast, order=options.order, seed=options.seed, seconds=options.seconds)
    try:
        return run_program(options.file, options.arguments, mode)
    except (CudaError, OSError, ValueError, MemoryError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
