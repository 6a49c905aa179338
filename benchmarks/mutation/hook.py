"""An import hook that compiles one module from a changed syntax tree.  Its file, and all others, are as they were."""

import ast
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path


def install(path: str | Path, change: Callable[[str], ast.Module]) -> None:
    """From now on, importing the module of the file `path` runs the tree that change(source text) returns."""
    sys.meta_path.insert(0, _Finder(str(path), change))


class _Finder:
    def __init__(self, path, change):
        self.path, self.change = path, change

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("minibert"):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.origin != self.path:
            return None
        spec.loader = _Loader(name, self.path, self.change)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name, path, change):
        super().__init__(name, path)
        self.change = change

    def get_code(self, fullname):
        source = Path(self.path).read_text(encoding="utf-8")
        return compile(self.change(source), self.path, "exec", dont_inherit=True)
