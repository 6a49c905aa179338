"""Every public function says the types of what it takes and returns; mypy, which .ci/run calls, sees that they fit.

Functions that Numba compiles have none: their types are those of each call, and mypy does not read them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import minibert

COMPILED = {"kernel", "helper", "inlined", "summing", "overload"}  # decorators: minibert.ops.cpu.compiler, and Numba's
PACKAGE = Path(minibert.__file__).parent


def public_functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods by name, without those within functions and those that begin with an underscore."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            if not node.name.startswith("_") or node.name.startswith("__"):
                yield prefix + node.name, node
        else:
            inside = f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix
            yield from public_functions(node, inside)


def is_compiled(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).partition("(")[0] in COMPILED for decorator in function.decorator_list)


def lacking(function: ast.FunctionDef) -> list[str]:
    """The arguments without a type, and "return"; a constructor returns nothing, and need not say so."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = [one.arg for one in every if one and one.annotation is None and one.arg not in ("self", "cls")]
    return names + (["return"] if function.returns is None and function.name != "__init__" else [])


def test_every_public_function_is_annotated():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for name, function in public_functions(ast.parse(path.read_text(encoding="utf-8"))):
            if not is_compiled(function) and (names := lacking(function)):
                found[f"{path.relative_to(PACKAGE)}: {name}"] = names
    assert not found


def test_a_missing_type_is_found():
    methods = "class A:\n    def f(self, x, *, y: int): ...\n    def _g(self, x): ...\n"
    source = methods + "@kernel\ndef k(x): ...\ndef h() -> int: ..."
    found = dict(public_functions(ast.parse(source)))
    assert {name: lacking(one) for name, one in found.items() if not is_compiled(one)} == {
        "A.f": ["x", "return"],
        "h": [],
    }
