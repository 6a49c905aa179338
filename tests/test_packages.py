"""Data flows one way: no package of minibert imports a later one.  README and CONTRIBUTING show the same order."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "base", "text", "data", "emulator", "ops", "nn", "models", "inference", "objectives", "training", "tasks",
    "experiments", "checks", "bench", "pictures", "exercises", "grading", "commands",
)  # fmt: skip
ON_TOP = "cli.py", "__main__.py", "__init__.py"  # which may import every package
MEETS_THE_EMULATOR = "ops/emulated.py", "exercises/kernels.py", "pictures/kernels.py"  # the last two: the course


def imports(path: Path):
    """The packages that a module imports from, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("minibert.") and "__version__" not in name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_earlier_packages_only(package):
    earlier = PACKAGES[: PACKAGES.index(package) + 1] if package != "emulator" else ("emulator",)
    modules = sorted((ROOT / "minibert" / package).rglob("*.py"))
    assert modules
    for path in modules:
        name = str(path.relative_to(ROOT / "minibert"))
        for other in imports(path):
            assert other in earlier, f"{name} imports {other}"
            if other == "emulator" and package != "emulator":
                assert name in MEETS_THE_EMULATOR, f"{name} imports the emulator"


def test_every_module_is_in_a_package():
    outside = {path.name for path in (ROOT / "minibert").glob("*.py")}
    packages = {path.name for path in (ROOT / "minibert").iterdir() if (path / "__init__.py").exists()}
    assert outside == set(ON_TOP) and packages == set(PACKAGES)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_order_is_the_one_that_is_written_down(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    listed = re.findall(r"^      (\w+)/ ", text, re.M)
    assert tuple(listed) == PACKAGES


@pytest.mark.parametrize("path", sorted((ROOT / "minibert").rglob("*.py")), ids=lambda path: path.stem)
def test_modules_have_at_most_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


EXCEPTED = "ops", "cuda", "exercises"  # the ops' own signatures, kernels; CuPy's; answers that are wrong
MOST = 9


def test_functions_take_at_most_nine_arguments():
    wrong = []
    for path in sorted((ROOT / "minibert").rglob("*.py")):
        if not set(EXCEPTED).isdisjoint(path.relative_to(ROOT).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                given = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len([name for name in given if name not in ("self", "cls")])
                if count > MOST:
                    wrong.append(f"{path.relative_to(ROOT)}: {node.name} takes {count}")
    assert not wrong
