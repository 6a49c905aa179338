"""The experiments, each a function from a Plan to a Table, measured speeds, or both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minibert.experiments import parallelism, student
from minibert.experiments.cells import Cell, reference
from minibert.experiments.plan import DISTILLING, LENGTHS_OF_STUDENTS, POINTS, RATE_OF, RATES_OF_PRETRAINING, Plan
from minibert.experiments.report import Column, Row, Table, share
from minibert.experiments.speeds import Speed
from minibert.nn.config import PRESETS
from minibert.tasks.registry import SENTENCE, SPAN, TOKENS, task_info
from minibert.training.systems import SYSTEMS

NO_PAIRS: dict[str, Any] = {"nsp_from": 1000}  # longer than any sequence, so that there is no next-sentence prediction
DEEP: dict[str, Any] = {"layers": student.TEACHER_LAYERS}  # twice as many as a tiny model has
SIZES: list[dict[str, Any]] = [{}, DEEP, {"size": "mini"}]
OF_A_MASKED_LM = Column("parameters", digits=0), Column("MLM loss (nats)", digits=3), Column("MLM accuracy", True)


@dataclass(frozen=True)
class Speeds:
    """Speeds that an experiment measures.

    measure     the function that measures them on a backend
    markdown    the table of the results
    draw        the picture of the results, written to a file; None: no picture
    """

    measure: Callable[[str], list[Speed]]
    markdown: Callable[[list[Speed]], str]
    draw: Callable[..., None] | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    source      the source of its claim
    question    what it asks
    table       the function that makes its table; None: it has only speeds
    kinds       the kinds of task of which it needs at least one each
    speeds      what it measures besides
    """

    source: str
    question: str
    table: Callable[[Plan], Table] | None
    kinds: tuple[str, ...] = ()
    speeds: Speeds | None = None


def rates(plan: Plan) -> Table:
    """Which learning rate each system is pre-trained with: its own loss on documents set aside for this choice.

    Half of the budget's steps, one seed.
    """
    half = plan.budget.steps // 2
    shorter = {"steps": half, "eval_every": half, "save_every": half, "tune": True}
    systems: list[tuple[str, dict[str, Any]]] = [
        ("BERT", {}),
        ("left to right (GPT)", {"model": "gpt"}),
        ("ELMo", {"model": "elmo"}),
    ]
    rows = []
    for label, options in systems:
        runs = [plan.pretrained(0, learning_rate=rate, **shorter, **options) for rate in RATES_OF_PRETRAINING]
        rows.append(Row(label, tuple(values(plan, [run], own_loss(options)) for run in runs), against=label))
    return Table(tuple(Column(f"loss at {rate:g}", digits=3) for rate in RATES_OF_PRETRAINING), tuple(rows))


def bidirectionality(plan: Plan) -> Table:
    """BERT paper, table 5: left-to-right models and a shallow concatenation beside BERT."""
    as_bert = {"tuned_on": plan.pretrained(0)}
    systems: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("BERT", {}, {}),
        ("not pre-trained", {"steps": 1, "learning_rate": 1e-12}, {}),
        ("BERT, no NSP", NO_PAIRS, as_bert),
        ("left to right, no NSP (GPT)", {"model": "gpt"}, {}),
        ("left to right, no NSP + BiLSTM", {"model": "gpt"}, {"head": "bilstm"}),
        ("ELMo", {"model": "elmo"}, {}),
    ]
    rows = []
    for label, options, tuning in systems:
        runs = [plan.pretrained(seed, **options) for seed in plan.seeds]
        scores = scores_of(plan, runs, plan.budget.tasks, **tuning)
        figures = (values(plan, runs, "parameters"), values(plan, runs, own_loss(options)))
        rows.append(Row(label, (*figures, *scores)))
    columns = Column("parameters", digits=0), Column("own pre-training loss (nats)", digits=3)
    return Table((*columns, *columns_of(plan.budget.tasks)), tuple(rows))


def features(plan: Plan) -> Table:
    """BERT paper, table 7: fine-tuning all weights, or a BiLSTM on the vectors of some layers of a frozen model."""
    tasks = [task for task in plan.budget.tasks if task_info(task).kind == TOKENS]
    runs = [plan.pretrained(seed, **DEEP) for seed in plan.seeds]
    last = DEEP["layers"]
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
    frozen_on = plan.pretrained(0, masked_as=shares[0], **NO_PAIRS)
    for each in shares:
        runs = [plan.pretrained(seed, masked_as=each, **NO_PAIRS) for seed in plan.seeds]
        tuned = scores_of(plan, runs, tasks, tuned_on=plan.pretrained(0))
        frozen = scores_of(plan, runs, tasks, tuned_on=frozen_on, frozen=True)
        label = "[MASK] {:.0%}, same {:.0%}, random {:.0%}".format(*each)
        rows.append(Row(label, (*tuned, *frozen)))
    columns = [
        Column(f"{column.title}, {way}", True) for way in ("fine-tuned", "frozen") for column in columns_of(tasks)
    ]
    return Table(tuple(columns), tuple(rows))


def size(plan: Plan) -> Table:
    """BERT paper, table 6: the size of the model."""
    rows = []
    for options in SIZES:
        layers, width, heads = PRESETS[options.get("size", "tiny")]
        runs = [plan.pretrained(seed, **options) for seed in plan.seeds]
        label = f"{options.get('layers', layers)} layers, {width} wide, {heads} heads"
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
        after: dict[str, Any] = {} if mark == total else {"step": mark}
        beside = f"masked LM, {mark:,} steps"
        scores = scores_of(plan, masked, tasks, tuned_on=plan.pretrained(0), **after)
        rows.append(Row(beside, scores, against=beside, point=("masked LM", mark)))
        scores = scores_of(plan, causal, tasks, **after)
        rows.append(Row(f"left to right, {mark:,} steps", scores, against=beside, point=("left to right", mark)))
    return Table(columns_of(tasks), tuple(rows), x="steps of pre-training")


def distillation(plan: Plan) -> Table:
    """DistilBERT: a student of a teacher with four layers, and what each loss and the initialisation contribute."""
    tasks = [task for task in plan.budget.tasks if task_info(task).kind != SPAN]
    teachers = [plan.pretrained(seed, **DEEP) for seed in plan.seeds]
    from_scratch = {"student_init": "random", "learning_rate": RATE_OF["bert"]}  # with BERT's phases and rate
    ablations: list[tuple[str, dict[str, Any]]] = [
        ("student", {}),
        ("student without soft targets", {"loss_weights": (0.0, 2.0, 1.0)}),
        ("student without masked tokens", {"loss_weights": (5.0, 0.0, 1.0)}),
        ("student without the cosine of hidden states", {"loss_weights": (5.0, 2.0, 0.0)}),
        ("student that starts at random", from_scratch),
        ("the same, without a teacher", {"loss_weights": (0.0, 1.0, 0.0), **from_scratch}),
    ]
    rows = [row_of(plan, f"teacher: {DEEP['layers']} layers", teachers, tasks)]
    first = None
    for label, options in ablations:
        students = [student_of(plan, run, seed, options) for seed, run in zip(plan.seeds, teachers, strict=True)]
        first = first or students[0]
        rows.append(row_of(plan, label, students, tasks, tuned_on=first))
    columns = (*OF_A_MASKED_LM, *columns_of(tasks))
    notes = tuple(
        f"{rows[1].label}: keeps {share(rows[1].values[number], rows[0].values[number])} of the teacher's score on "
        f"{column.title}."
        for number, column in enumerate(columns)
        if number >= len(OF_A_MASKED_LM)
    )
    return Table(columns, tuple(rows), notes=notes)


def student_of(plan: Plan, teacher: Cell, seed: int, options: dict[str, Any]) -> Cell:
    taught = {"model": "distilbert", "teacher": reference(teacher.key), "vocab": reference(teacher.key)}
    phases = {} if options.get("student_init") == "random" else {"lengths": LENGTHS_OF_STUDENTS}
    return plan.pretrained(seed, **taught, **DISTILLING | phases | options)


def own_loss(options: dict[str, Any]) -> str:
    """The name of the loss that a system's main target has."""
    return f"{SYSTEMS[options.get('model', 'bert')].targets[0].key}_loss"


def row_of(plan: Plan, label: str, runs: list[Cell], tasks: Any, tuned_on: Cell | None = None) -> Row:
    """A row with the columns OF_A_MASKED_LM and one for each task."""
    figures = tuple(values(plan, runs, figure) for figure in ("parameters", "mlm_loss", "mlm_accuracy"))
    return Row(label, (*figures, *scores_of(plan, runs, tasks, tuned_on)))


def values(plan: Plan, runs: list[Cell], figure: str) -> tuple[float | None, ...]:
    """A figure of each run."""
    return tuple(plan.figure(run, figure) for run in runs)


def scores_of(
    plan: Plan, runs: list[Cell], tasks: Any, tuned_on: Cell | None = None, **options: Any
) -> tuple[tuple[float | None, ...], ...]:
    """For each task, the scores of the runs over the seeds.

    tuned_on: the run on which the learning rate is chosen, by default the first; variants of one system share its rate.
    """
    chosen = tuned_on or runs[0]
    return tuple(
        tuple(plan.score(run, chosen, task, seed, **options) for seed, run in zip(plan.seeds, runs, strict=True))
        for task in tasks
    )


def columns_of(tasks: Any) -> tuple[Column, ...]:
    return tuple(Column(task.removeprefix("sotu-"), percent=True) for task in tasks)


EXPERIMENTS = {
    "rates": Experiment("BERT paper, section A.3", "Which learning rate suits each system?", rates),
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
        "Sanh et al. 2019, tables 1 and 4",
        "How much of its teacher does a student keep, and why?",
        distillation,
        speeds=Speeds(student.speeds, student.markdown),
    ),
    "parallelism": Experiment(
        "Vaswani et al. 2017, table 1",
        "How fast are LSTM and Transformer at each length?",
        None,
        speeds=Speeds(parallelism.speeds, parallelism.markdown, parallelism.draw),
    ),
}
