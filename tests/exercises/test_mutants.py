"""A check that calls a wrong answer right is worse than none: every small change of a solution must be found wrong.

Each operator, comparison, number, keyword and call of a solution is changed in turn.  What stays right after that is
either as right as the solution, and listed below with the reason, or shows that an exercise is tried with too little.
"""

import ast
import copy
import re
import textwrap

import pytest

from minibert.exercises import EXERCISES, judge, kernels, limits
from minibert.exercises.showing import source_of

OPERATORS = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div, ast.Add), ast.Div: (ast.Mult,), ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,), ast.FloorDiv: (ast.Mult,),
}  # fmt: skip
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt,), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt,), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}  # fmt: skip

AS_RIGHT = {
    "choose_tokens": ("np.where(continues, -1,",),  # below any position, as is 0 after the first token
    # a bias of the keys adds the same number to all scores of a query, which softmax ignores
    "encoder_layer": ("wk.T - bk",),
    "encoder_layer_backward": ("wk.T - bk",),
    "drop": ("threshold = rate * 65536", "65535)", "65537)"),  # between two whole numbers no bits lie
    "layer_parameters": ("(2 + 2)",),
    "online_attention": ("-1.0", "1.0", ", value.shape[1])"),  # whatever it is, it is multiplied by exp(-infinity)
    "clip": ("norm < max_norm",),  # at the limit the factor is 1
    "label_first_pieces": ("return [*result, -100]",),  # a list is as good as an array
    "best_span": (">= best",),  # of equal sums any will do
    "nearest": ("/ np.linalg.norm(query)", "np.argsort(-cosines)["),  # the query's length changes no order
    "run_3": ("max(steps - rising, 0)",),  # of steps that all rise, none has the rate of the fall
    "run_6": ("total += losses.mlm",),  # a number like any other
    "run_9": ("<= 0.15", "<= 0.8", "<= 0.9", "> 0.9", "epoch, 0))", "epoch, 2))"),  # other random numbers
}


def changed(tree: ast.AST):
    """Copies of a tree, each with one small change."""
    for number, node in enumerate(ast.walk(tree)):
        for change in changes_of(node):
            new = copy.deepcopy(tree)
            target = next(found for k, found in enumerate(ast.walk(new)) if k == number)
            change(new, target)
            yield ast.fix_missing_locations(new)


def changes_of(node) -> list:
    """Functions (tree, node) that change a node in place."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return [setting("op", other()) for other in OPERATORS.get(type(node.op), ())]
    if isinstance(node, ast.Compare):
        return [setting("ops", [other()]) for other in COMPARISONS.get(type(node.ops[0]), ())]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [setting("value", not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return [setting("value", node.value + by) for by in (-1, 1)]
    if isinstance(node, ast.keyword) and node.arg != "strict":
        return [lambda tree, keyword: without_keyword(tree, keyword)]
    if isinstance(node, ast.Call) and len(node.args) == 1:
        return [lambda tree, call: Uncalled(call).visit(tree)]
    return []


def setting(name: str, value):
    return lambda tree, node: setattr(node, name, value)


def without_keyword(tree, keyword) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and keyword in node.keywords:
            node.keywords.remove(keyword)


class Uncalled(ast.NodeTransformer):
    """f(x) becomes x."""

    def __init__(self, call):
        self.call = call

    def visit_Call(self, node):
        return node.args[0] if node is self.call else self.generic_visit(node)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, exercise in EXERCISES.items() if exercise.judge is None])
def test_no_small_change_of_a_solution_is_right(name, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 3)  # a change may make a loop endless
    exercise = EXERCISES[name]
    tree = ast.parse(textwrap.dedent(source_of(exercise)))
    before = ast.unparse(tree)
    function = (exercise.shown or exercise.solution).__name__
    tried, survivors = 0, []
    for other in changed(tree):
        text = ast.unparse(other)
        if any(piece in text and piece not in before for piece in ("strict=False", *AS_RIGHT.get(name, ()))):
            continue
        scope = dict((exercise.shown or exercise.solution).__globals__)
        exec(compile(other, name, "exec"), scope)
        tried += 1
        if judge(name, scope[function]).right:
            survivors.append(text)
    assert tried >= 1 and not survivors


KERNEL_CHANGES = (
    (r" \+ ", " - "), (r" - ", " + "), (r" < ", " <= "), (r" > ", " >= "), (r" == ", " != "), (r" \* ", " + "),
    (r" / ", " * "), (r" \+= ", " = "), (r" \*= ", " += "), (r" && ", " || "), (r"__syncthreads\(\);", ""),
    (r"fmaxf\((\w+), \w+\)", r"\1"), (r"\breturn;", ";"),
)  # fmt: skip
NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")

ANY_START = (
    "sums[D] = {1", "{0, 1", "{0, 0, 1", "{0, 0, 0, 1", "total = 1",  # multiplied by exp(-infinity)
    "sums[D] = {-1", "{0, -1", "{0, 0, -1", "{0, 0, 0, -1", "total = -1",
    "score = 1", "score = -1",  # for all keys
)  # fmt: skip

KERNELS_AS_RIGHT = {
    "flash_key": ANY_START,
    "flash_tail": ("first <= T",),  # one more tile, of which no key exists
    "row_sums": ("scratch[65]", "if (threadIdx.x == 1) sums"),  # of the threads that have the sum, any may write it
    "layernorm_kernel": ("scratch[33]",),
    "tiled_product": (
        "tile_a[9][8], tile_b[8][8]", "tile_a[8][9], tile_b[8][8]", "tile_a[8][8], tile_b[9][8]",
        "tile_a[8][8], tile_b[8][9]", "first <= K", "k_a] : 1", "k_a] : -1", "column] : 1", "column] : -1",
    ),  # one more tile, of which nothing exists; beyond K only one of the two tiles needs a 0
    "flash_kernel": (
        *ANY_START,
        "first <= T",  # one more tile, of which no key exists
        "D + d] : 1", "D + d] : -1",  # never read
    ),
}  # fmt: skip


def changed_kernels(source: str):
    """Copies of a kernel, each with one small change in its body."""
    begin = source.index("{")
    for pattern, other in KERNEL_CHANGES:
        for match in re.finditer(pattern, source[begin:]):
            yield source[: begin + match.start()] + match.expand(other) + source[begin + match.end() :]
    for match in NUMBER.finditer(source, begin):
        for by in (-1, 1):
            yield source[: match.start()] + str(int(match[0]) + by) + source[match.end() :]


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name, exercise in EXERCISES.items() if exercise.judge is not None])
def test_no_small_change_of_a_kernel_is_right(name, monkeypatch):
    monkeypatch.setattr(kernels, "SECONDS", 1)  # a change may make a loop endless
    monkeypatch.setattr(kernels, "known_mistake", lambda *_: None)  # which mistake it is does not matter here
    before = EXERCISES[name].solution
    tried, survivors = 0, []
    for source in changed_kernels(before):
        if any(piece in source and piece not in before for piece in KERNELS_AS_RIGHT.get(name, ())):
            continue
        tried += 1
        if judge(name, source).right:
            survivors.append(source)
    assert tried >= 4 and not survivors
