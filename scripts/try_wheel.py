"""Install a wheel into an empty environment outside the checkout, and use it: pre-train, fill, list the lessons.

    python scripts/try_wheel.py dist/minibert_from_scratch-0.1.0-py3-none-any.whl

Exit code 1, with what the command printed, if one of them fails.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TEXT = "Anna is a smith and works at the forge. In spring she makes horseshoes there. Paul likes fish.\n\n"
STEPS = (
    "pretrain text.txt --out run --steps 20 --vocab-size 60 --lengths 16 --nsp-from 16 --batch-tokens 256 "
    "--eval-every 20 --eval-pairs 8 --final-pairs 8 --held-out 0.2"
)


def main() -> int:
    (wheel,) = (Path(word).resolve() for word in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="minibert-wheel-") as folder:
        made = Path(folder)
        venv.create(made / "venv", with_pip=True)
        scripts = made / "venv" / ("Scripts" if os.name == "nt" else "bin")
        minibert = str(scripts / "minibert")
        (made / "text.txt").write_text(TEXT * 200, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        for command in (
            [str(scripts / "python"), "-P", "-m", "pip", "install", "--quiet", str(wheel)],
            [minibert, *STEPS.split()],
            [minibert, "fill", "run", "anna is a [MASK] ."],
            [minibert, "lessons", "--list"],
        ):
            done = subprocess.run(command, cwd=made, env=environment, capture_output=True, text=True)
            if done.returncode:
                print(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
                return 1
            print(done.stdout[-300:])
        first = next((made / "minibert-lessons").glob("00*.ipynb"), None)
        print("lessons copied" if first else "the lessons are missing from the wheel")
        return 0 if first else 1


if __name__ == "__main__":
    sys.exit(main())
