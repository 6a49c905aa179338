"""The experiments, each a function from a Plan to a Table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minibert.experiments.cells import Cell, reference
from minibert.experiments.plan import DISTILLING, POINTS, Plan
from minibert.experiments.report import Column, Row, Table
from minibert.nn.config import PRESETS
from minibert.tasks.registry import SENTENCE, SPAN, TOKENS, task_info
from minibert.training.systems import SYSTEMS

NO_PAIRS: dict[str, Any] = {"nsp_from": 1000}  # longer than any sequence, so that there is no next-sentence prediction
SIZES = "tiny", "mini"
OF_A_MASKED_LM = Column("parameters", digits=0), Column("MLM loss (nats)", digits=3), Column("MLM accuracy", True)


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    source      the source of its claim
    question    what it asks
    table       the function that makes its table
    kinds       the kinds of task of which it needs at least one each
    """

    source: str
    question: str
    table: Callable[[Plan], Table]
    kinds: tuple[str, ...] = ()


def bidirectionality(plan: Plan) -> Table:
    """BERT paper, table 5: left-to-right models and a shallow concatenation beside BERT."""
    systems: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("BERT", {}, {}),
        ("not pre-trained", {"steps": 1, "learning_rate": 1e-12}, {}),
        ("BERT, no NSP", NO_PAIRS, {}),
        ("left to right, no NSP (GPT)", {"model": "gpt"}, {}),
        ("left to right, no NSP + BiLSTM", {"model": "gpt"}, {"head": "bilstm"}),
        ("ELMo", {"model": "elmo"}, {}),
    ]
    rows = []
    for label, options, tuning in systems:
        runs = [plan.pretrained(seed, **options) for seed in plan.seeds]
        scores = scores_of(plan, runs, plan.budget.tasks, **tuning)
        loss = f"{SYSTEMS[options.get('model', 'bert')].targets[0].key}_loss"
        figures = (values(plan, runs, "parameters"), values(plan, runs, loss))
        rows.append(Row(label, (*figures, *scores)))
    columns = Column("parameters", digits=0), Column("own pre-training loss (nats)", digits=3)
    return Table((*columns, *columns_of(plan.budget.tasks)), tuple(rows))


def features(plan: Plan) -> Table:
    """BERT paper, table 7: fine-tuning all weights, or a BiLSTM on the vectors of some layers of a frozen model."""
    tasks = [task for task in plan.budget.tasks if task_info(task).kind == TOKENS]
    runs = [plan.pretrained(seed, size="mini") for seed in plan.seeds]
    last = PRESETS["mini"][0]
    ways: list[tuple[str, dict[str, Any]]] = [
        ("fine-tuning", {}),
        ("embeddings", {"frozen": True, "layers": "0"}),
        ("second-to-last layer", {"frozen": True, "layers": str(last - 1)}),
        ("last layer", {"frozen": True, "layers": str(last)}),
        ("weighted sum of all layers", {"frozen": True, "layers": "weighted"}),
        ("concatenation of the last four", {"frozen": True, "layers": "last-four"}),
    ]
    rows = tuple(Row(label, scores_of(plan, runs, tasks, **options)) for label, options in ways)
    return Table(columns_of(tasks), rows)


def masking(plan: Plan) -> Table:
    """BERT paper, table 8: what the chosen tokens become, [MASK], unchanged, or random; no NSP."""
    shares = [(0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.8, 0.0, 0.2), (0.8, 0.2, 0.0), (0.0, 0.2, 0.8), (0.0, 0.0, 1.0)]
    tasks = [task for task in plan.budget.tasks if task_info(task).kind == TOKENS]
    rows = []
    for share in shares:
        runs = [plan.pretrained(seed, masked_as=share, **NO_PAIRS) for seed in plan.seeds]
        tuned, frozen = scores_of(plan, runs, tasks), scores_of(plan, runs, tasks, frozen=True)
        label = "[MASK] {:.0%}, same {:.0%}, random {:.0%}".format(*share)
        rows.append(Row(label, (*tuned, *frozen)))
    columns = [
        Column(f"{column.title}, {way}", True) for way in ("fine-tuned", "frozen") for column in columns_of(tasks)
    ]
    return Table(tuple(columns), tuple(rows))


def size(plan: Plan) -> Table:
    """BERT paper, table 6: the size of the model."""
    rows = []
    for name in SIZES:
        layers, width, heads = PRESETS[name]
        runs = [plan.pretrained(seed, size=name) for seed in plan.seeds]
        label = f"{name}: {layers} layers, {width} wide, {heads} heads"
        rows.append(row_of(plan, label, runs, plan.budget.tasks))
    return Table((*OF_A_MASKED_LM, *columns_of(plan.budget.tasks)), tuple(rows))


def steps(plan: Plan) -> Table:
    """BERT paper, figure 5: fine-tuning models of the same run after more and more steps, for both objectives."""
    tasks = [task for task in plan.budget.tasks if task_info(task).kind == SENTENCE]
    total = plan.budget.steps
    marks = [*(total // POINTS * number for number in range(1, POINTS)), total]
    masked = [plan.pretrained(seed, **NO_PAIRS) for seed in plan.seeds]
    causal = [plan.pretrained(seed, model="gpt") for seed in plan.seeds]
    rows = []
    for mark in marks:
        after = {} if mark == total else {"step": mark}
        beside = f"masked LM, {mark:,} steps"
        rows.append(Row(beside, scores_of(plan, masked, tasks, **after), against=beside))
        rows.append(Row(f"left to right, {mark:,} steps", scores_of(plan, causal, tasks, **after), against=beside))
    return Table(columns_of(tasks), tuple(rows))


def distillation(plan: Plan) -> Table:
    """DistilBERT: a student of a teacher with four layers, and what each loss and the initialisation contribute."""
    tasks = [task for task in plan.budget.tasks if task_info(task).kind != SPAN]
    teachers = [plan.pretrained(seed, size="mini") for seed in plan.seeds]
    ablations: list[tuple[str, dict[str, Any]]] = [
        ("student", {}),
        ("student without soft targets", {"loss_weights": (0.0, 2.0, 1.0)}),
        ("student without masked tokens", {"loss_weights": (5.0, 0.0, 1.0)}),
        ("student without the cosine of hidden states", {"loss_weights": (5.0, 2.0, 0.0)}),
        ("student that starts at random", {"student_init": "random"}),
        ("the same, without a teacher", {"loss_weights": (0.0, 1.0, 0.0), "student_init": "random"}),
    ]
    rows = [row_of(plan, "teacher: mini, 4 layers", teachers, tasks)]
    for label, options in ablations:
        students = [
            student_of(plan, teacher, seed, options) for seed, teacher in zip(plan.seeds, teachers, strict=True)
        ]
        rows.append(row_of(plan, label, students, tasks))
    return Table((*OF_A_MASKED_LM, *columns_of(tasks)), tuple(rows))


def student_of(plan: Plan, teacher: Cell, seed: int, options: dict[str, Any]) -> Cell:
    taught = {"model": "distilbert", "teacher": reference(teacher.key), "vocab": reference(teacher.key)}
    return plan.pretrained(seed, **taught, **DISTILLING | options)


def row_of(plan: Plan, label: str, runs: list[Cell], tasks: Any) -> Row:
    """A row with the columns OF_A_MASKED_LM and one for each task."""
    figures = tuple(values(plan, runs, figure) for figure in ("parameters", "mlm_loss", "mlm_accuracy"))
    return Row(label, (*figures, *scores_of(plan, runs, tasks)))


def values(plan: Plan, runs: list[Cell], figure: str) -> tuple[float | None, ...]:
    """A figure of each run."""
    return tuple(plan.figure(run, figure) for run in runs)


def scores_of(plan: Plan, runs: list[Cell], tasks: Any, **options: Any) -> tuple[tuple[float | None, ...], ...]:
    """For each task, the scores of the runs over the seeds."""
    return tuple(
        tuple(plan.score(run, runs[0], task, seed, **options) for seed, run in zip(plan.seeds, runs, strict=True))
        for task in tasks
    )


def columns_of(tasks: Any) -> tuple[Column, ...]:
    return tuple(Column(task.removeprefix("sotu-"), percent=True) for task in tasks)


EXPERIMENTS = {
    "bidirectionality": Experiment(
        "BERT paper, table 5", "What does a model gain by reading in both directions?", bidirectionality
    ),
    "features": Experiment("BERT paper, table 7", "Are frozen vectors as good as fine-tuning?", features, (TOKENS,)),
    "masking": Experiment("BERT paper, table 8", "What should the chosen tokens become?", masking, (TOKENS,)),
    "size": Experiment("BERT paper, table 6", "Is a larger model better?", size),
    "steps": Experiment(
        "BERT paper, figure 5", "Does a masked LM need more steps than a left-to-right one?", steps, (SENTENCE,)
    ),
    "distillation": Experiment(
        "Sanh et al. 2019, tables 1 and 4", "How much of its teacher does a student keep, and why?", distillation
    ),
}
