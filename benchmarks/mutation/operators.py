"""The changes that make a mutant: one operator, comparison, constant, argument or statement of a syntax tree.

Left alone, since nothing that a user sees depends on them or since they are texts for people: annotations, decorators,
docstrings, `__all__`, `assert`, what is raised or warned (only whether it is), the texts in `print`, and
`zip(strict=...)`, which is an assertion.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

ARITHMETIC: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div, ast.Add), ast.Div: (ast.Mult,), ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,), ast.FloorDiv: (ast.Mult,), ast.Mod: (ast.FloorDiv,), ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitOr,), ast.LShift: (ast.RShift,), ast.RShift: (ast.LShift,),
}  # fmt: skip
COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt,), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt,), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
TEXTS = {"print"}  # calls whose string constants are texts for people
MESSAGES = {"warn", "warnings.warn"}  # calls whose arguments are


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    file is relative to the project; id depends on the file, the enclosing function and the change, but not on the line,
    so that edits elsewhere keep it.  header is True for code that runs once: at import, or in a cached function.
    """

    line: int
    column: int
    scope: str
    operator: str
    original: str
    mutated: str
    id: str
    header: bool
    body: tuple[int, int]  # the lines of the enclosing function; (1, 0) outside functions
    lines: tuple[int, int]  # the first and last line of the statement, without the statements within it
    number: int  # its position among the mutants of the file
    file: str


def mutants_of(source: str, file: str = "") -> list[Mutant]:
    """Every mutant of a source text, in the order of the text."""
    tree = ast.parse(source)
    seen: Counter[tuple] = Counter()
    found = []
    for site in _Walker().module(tree):
        original, mutated = (ast.unparse(ast.fix_missing_locations(node)) for node in (site.node, site.new))
        text = file, site.scope, site.operator, original, mutated
        key = hashlib.sha256(repr((text, seen[text])).encode()).hexdigest()[:12]
        seen[text] += 1
        found.append(Mutant(*site.where, *text[1:], key, site.header, site.body, site.lines, len(found), file))
    return found


def mutated_tree(source: str, number: int) -> ast.Module:
    """The tree of a source text with the change at that position in the list of its mutants."""
    tree = ast.parse(source)
    next(islice(_Walker().module(tree), number, None)).apply()
    return ast.fix_missing_locations(tree)


@dataclass(frozen=True)
class _Site:
    where: tuple[int, int]  # line and column
    scope: str
    operator: str
    node: ast.AST
    new: ast.AST
    header: bool
    body: tuple[int, int]
    lines: tuple[int, int]
    apply: Callable[[], None]


class _Walker:
    """Walks a module and yields a _Site for each change."""

    def __init__(self):
        self.scopes: list[str] = []
        self.names: set[str] = set()  # of the enclosing function: arguments, and what is assigned more than once
        self.header = True
        self.body = self.lines = (1, 0)

    def module(self, tree: ast.Module) -> Iterator[_Site]:
        yield from self.statements(tree.body)

    def site(self, node, operator: str, new: ast.AST, put: Callable[[], None]) -> _Site:
        place = node if hasattr(node, "lineno") else new
        where = place.lineno, place.col_offset
        return _Site(where, ".".join(self.scopes), operator, node, new, self.header, self.body, self.lines, put)

    # statements

    def statements(self, body: list) -> Iterator[_Site]:
        for i, node in enumerate(body):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # docstrings
            before, self.lines = self.lines, _lines(node)
            for operator, new in self.dropped(node):
                yield self.site(node, operator, new, lambda i=i, new=new: body.__setitem__(i, new))
            yield from self.inside(node)
            self.lines = before

    def dropped(self, node) -> Iterator[tuple[str, ast.stmt]]:
        nothing = ast.copy_location(ast.Pass(), node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not _called(node.value) & MESSAGES:
            yield "drop statement", nothing
        elif isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break | ast.Delete):
            yield "drop statement", nothing
        elif isinstance(node, ast.Assign) and all(self.may_drop(target) for target in node.targets):
            yield "drop statement", nothing
        elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
            yield "return None", ast.copy_location(ast.Return(None), node)

    def may_drop(self, target) -> bool:
        """Without the assignment the name must still exist, or any test that runs the line notices."""
        if isinstance(target, ast.Tuple):
            return all(self.may_drop(one) for one in target.elts)
        return isinstance(target, ast.Attribute | ast.Subscript) or getattr(target, "id", "") in self.names

    def inside(self, node) -> Iterator[_Site]:
        if isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from self.definition(node)
            return
        if isinstance(node, ast.AugAssign):
            for other in ARITHMETIC.get(type(node.op), ()):
                new = ast.copy_location(ast.AugAssign(node.target, other(), node.value), node)
                yield self.site(node, "arithmetic", new, lambda node=node, other=other: setattr(node, "op", other()))
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "type_params"):
                continue
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                yield from self.statements(value)
            elif isinstance(value, list):
                for i, one in enumerate(value):
                    if isinstance(one, ast.ExceptHandler | ast.match_case):
                        yield from self.inside(one)
                    elif isinstance(one, ast.AST):
                        yield from self.expression(one, lambda new, i=i, value=value: value.__setitem__(i, new))
            elif isinstance(value, ast.AST):
                put = lambda new, node=node, name=name: setattr(node, name, new)  # noqa: E731
                if name == "test" and isinstance(node, ast.If | ast.While):
                    yield from self.condition(value, put)
                else:
                    yield from self.expression(value, put)

    def definition(self, node) -> Iterator[_Site]:
        before = self.names, self.header, self.body
        self.scopes.append(node.name)
        if isinstance(node, ast.ClassDef):
            yield from self.statements(node.body)
        else:
            self.body = (node.body[0].lineno, node.end_lineno or node.lineno)
            yield from self.inside(node.args)  # its defaults, which are evaluated at import
            self.names = _names(node)
            if once := any(_is_cache(decorator) for decorator in node.decorator_list):
                self.body = (1, 0)
            self.header = once
            yield from self.statements(node.body)
        self.scopes.pop()
        self.names, self.header, self.body = before

    # expressions

    def condition(self, node, put: Callable) -> Iterator[_Site]:
        if not isinstance(node, ast.Constant):
            new = node.operand if _is_not(node) else ast.copy_location(ast.UnaryOp(ast.Not(), node), node)
            yield self.site(node, "negate condition", new, lambda: put(new))
        if _is_not(node):
            yield from self.expression(node.operand, lambda new: setattr(node, "operand", new))
        else:
            yield from self.expression(node, put)

    def expression(self, node, put: Callable, texts: bool = True) -> Iterator[_Site]:
        """Changes of an expression, and of those within it.  texts: False where strings are texts for people."""
        for operator, new in _changes(node, texts):
            ast.copy_location(new, node)
            yield self.site(node, operator, new, lambda new=new: put(new))
        if isinstance(node, ast.Call):
            if _called(node) & MESSAGES:
                return
            texts = texts and not _called(node) & TEXTS
        header = self.header
        self.header = header and not isinstance(node, ast.Lambda)
        for name, value in ast.iter_fields(node):
            children = value if isinstance(value, list) else [value]
            for i, child in enumerate(children):
                if not isinstance(child, ast.AST) or isinstance(child, ast.expr_context | ast.operator | ast.cmpop):
                    continue
                if isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant):
                    continue  # the text of an f-string
                if isinstance(child, ast.keyword) and child.arg == "strict" or name in ("format_spec", "annotation"):
                    continue
                if isinstance(value, list):
                    within = lambda new, i=i, value=value: value.__setitem__(i, new)  # noqa: E731
                else:
                    within = lambda new, name=name: setattr(node, name, new)  # noqa: E731
                conditions = isinstance(node, ast.IfExp) and name == "test"
                conditions = conditions or isinstance(node, ast.comprehension) and name == "ifs"
                if conditions:
                    yield from self.condition(child, within)
                elif isinstance(child, ast.arguments | ast.keyword | ast.comprehension):
                    yield from self.parts(child, texts)
                else:
                    yield from self.expression(child, within, texts)
        self.header = header

    def parts(self, node, texts: bool) -> Iterator[_Site]:
        """What is within a lambda's arguments, a keyword argument, or the `for` of a comprehension."""
        yield from self.expression(node, lambda new: None, texts)


def _changes(node, texts: bool) -> Iterator[tuple[str, ast.expr]]:
    """(operator, new expression) for each change of an expression itself, and of none within it."""
    if isinstance(node, ast.BinOp):
        for other in ARITHMETIC.get(type(node.op), ()):
            yield "arithmetic", ast.BinOp(node.left, other(), node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert | ast.Not):
        yield "unary", node.operand
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield "and/or", ast.BoolOp(other(), node.values)
    elif isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in COMPARISONS.get(type(op), ()):
                yield (
                    "comparison",
                    ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators),
                )
    elif isinstance(node, ast.Constant):
        for value in _values(node.value, texts):
            yield "constant", ast.Constant(value)
    elif isinstance(node, ast.Slice):
        for name in ("lower", "upper"):
            for bound in _by_one(getattr(node, name)):
                yield "off by one", ast.Slice(**{**dict(ast.iter_fields(node)), name: bound})
    elif isinstance(node, ast.Call):
        yield from _arguments(node)


def _values(value, texts: bool) -> tuple:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return value - 1, value + 1
    if isinstance(value, float):
        return (2 * value if value else 1.0,)
    if isinstance(value, str) and texts:
        return (value + "x",)
    return (value + b"x",) if isinstance(value, bytes) else ()


def _by_one(node) -> list[ast.expr]:
    """An index that is not a constant, one less and one more."""
    if node is None or isinstance(node, ast.Constant) or isinstance(getattr(node, "operand", None), ast.Constant):
        return []
    return [ast.copy_location(ast.BinOp(node, op(), ast.Constant(1)), node) for op in (ast.Sub, ast.Add)]


def _arguments(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    if _called(node) & MESSAGES:
        return
    args, keywords = node.args, node.keywords
    starred = any(isinstance(arg, ast.Starred) for arg in args)
    for i in range(len(args) - 1):
        if not starred and ast.unparse(args[i]) != ast.unparse(args[i + 1]):
            swapped = [*args[:i], args[i + 1], args[i], *args[i + 2 :]]
            yield "swap arguments", ast.Call(node.func, swapped, keywords)
    if len(args) > 1:
        yield "drop argument", ast.Call(node.func, args[:-1], keywords)
    for i, keyword in enumerate(keywords):
        if keyword.arg not in (None, "strict"):
            yield "drop argument", ast.Call(node.func, args, [*keywords[:i], *keywords[i + 1 :]])
    if _called(node) == {"range"}:
        for i, arg in enumerate(args):
            for bound in _by_one(arg):
                yield "off by one", ast.Call(node.func, [*args[:i], bound, *args[i + 1 :]], keywords)


def _called(node: ast.Call) -> set[str]:
    return {ast.unparse(node.func)}


def _is_cache(decorator: ast.expr) -> bool:
    return ast.unparse(decorator).partition("(")[0].rpartition(".")[2] in ("cache", "lru_cache", "cached_property")


def _lines(node: ast.stmt) -> tuple[int, int]:
    """The first and last line of a statement; of a compound statement, those of its header."""
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if body is None:
        return node.lineno, node.end_lineno or node.lineno
    first = body[0].pattern if isinstance(body[0], ast.match_case) else body[0]
    return node.lineno, max(node.lineno, first.lineno - 1)


def _is_not(node) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _names(function) -> set[str]:
    """The arguments of a function, and the names that it assigns at more than one position."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    stored = Counter(
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    return {one.arg for one in every if one} | {name for name, times in stored.items() if times > 1}
