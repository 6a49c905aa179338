"""The pages of the API reference, for mkdocs: one for each package of minibert, with all its modules.

They are made while the site is built, so none is missing or out of date.  mkdocs.yml names this file.
"""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "minibert"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for the package itself and for each package in it."""
    names = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    for name in ("", *names):
        files.append(File.generated(config, f"{name or 'minibert'}.md", content=page(PACKAGE / name)))
    return files


def page(folder: Path) -> str:
    """A package's modules, one after the other; for minibert itself, those outside its packages."""
    paths = folder.glob("*.py") if folder == PACKAGE else folder.rglob("*.py")
    directives = "".join(
        directive(path) for path in sorted(paths) if path.name != "__main__.py" and path.stat().st_size
    )
    return f"# {module_name(folder / '__init__.py')}\n\n{directives}"


def directive(path: Path) -> str:
    """Asks mkdocstrings for a module; for a package's own file, only for what is defined there and not imported."""
    lines = f"::: {module_name(path)}\n"
    if path.name == "__init__.py":
        body = ast.parse(path.read_text(encoding="utf-8")).body
        own = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]
        lines += f"    options:\n      members: {own or 'false'}\n"
    return lines + "\n"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
