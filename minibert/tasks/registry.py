"""The registry of tasks: the kind, the file format and the metrics of each task, by name."""

from dataclasses import dataclass

SENTENCE, REGRESSION, TOKENS, SPAN, CHOICE = "sentence", "regression", "tokens", "span", "choice"


@dataclass(frozen=True)
class Columns:
    """The columns of a table, given by their names in the header line, or by index if there is no header line."""

    text: str | int
    pair: str | int | None
    label: str | int
    header: bool = True


@dataclass(frozen=True)
class TaskInfo:
    """A named task, or a kind of task for the user's own data."""

    kind: str
    """sentence (classify a sentence or pair), regression (predict a number for it), tokens (label words), span (find an
    answer in a text) or choice (choose an ending)"""
    title: str
    metrics: tuple[str, ...]
    """names of metrics in minibert.tasks.metrics; the first one determines which checkpoint is the best"""
    columns: Columns | None = None
    """the columns of the task's table, with one example per row; None for other formats and for the user's own data"""
    labels: dict[str, str] | None = None
    """label in the file -> class name, in the order of class ids; None: the sorted labels in the file are the names"""


ACCURACY = ("accuracy",)
ENTITIES = ("entity f1", "entity precision", "entity recall")

TASKS = {
    # GLUE (Wang et al. 2018), as its files are distributed
    "sst2": TaskInfo(
        SENTENCE, "sentiment (SST-2)", ACCURACY, Columns("sentence", None, "label"), {"0": "negative", "1": "positive"}
    ),
    "cola": TaskInfo(
        SENTENCE,
        "is it grammatical? (CoLA)",
        ("matthews", "accuracy"),
        Columns(3, None, 1, header=False),
        {"0": "unacceptable", "1": "acceptable"},
    ),
    "stsb": TaskInfo(
        REGRESSION, "similarity (STS-B)", ("pearson", "spearman"), Columns("sentence1", "sentence2", "score")
    ),
    "mrpc": TaskInfo(
        SENTENCE,
        "paraphrase (MRPC)",
        ("accuracy", "f1"),
        Columns("#1 String", "#2 String", "Quality"),
        {"0": "different", "1": "paraphrase"},
    ),
    "qqp": TaskInfo(
        SENTENCE,
        "do both questions mean the same? (QQP)",
        ("accuracy", "f1"),
        Columns("question1", "question2", "is_duplicate"),
        {"0": "different", "1": "duplicate"},
    ),
    "mnli": TaskInfo(SENTENCE, "inference (MNLI)", ACCURACY, Columns("sentence1", "sentence2", "gold_label")),
    "qnli": TaskInfo(
        SENTENCE, "does the sentence answer the question? (QNLI)", ACCURACY, Columns("question", "sentence", "label")
    ),
    "rte": TaskInfo(SENTENCE, "inference (RTE)", ACCURACY, Columns("sentence1", "sentence2", "label")),
    # SICK (Marelli et al. 2014)
    "sick": TaskInfo(
        SENTENCE, "inference (SICK)", ACCURACY, Columns("sentence_A", "sentence_B", "entailment_judgment")
    ),
    "sick-relatedness": TaskInfo(
        REGRESSION,
        "relatedness (SICK)",
        ("pearson", "spearman"),
        Columns("sentence_A", "sentence_B", "relatedness_score"),
    ),
    # one word per line, with a BIO tag in the last column
    "conll": TaskInfo(TOKENS, "named entities (CoNLL-2003)", ENTITIES),
    "wnut": TaskInfo(TOKENS, "rare entities (WNUT-17)", ENTITIES),
    # questions about a text
    "squad": TaskInfo(SPAN, "question answering (SQuAD 1.1)", ("span f1", "exact match")),
    "squad2": TaskInfo(SPAN, "question answering (SQuAD 2.0)", ("span f1", "exact match")),
    "swag": TaskInfo(CHOICE, "what comes next? (SWAG)", ACCURACY),
    # the user's own data
    "sentence": TaskInfo(SENTENCE, "classes of your own sentences or pairs", ("accuracy", "macro f1")),
    "regression": TaskInfo(REGRESSION, "numbers for your own sentences or pairs", ("pearson", "spearman")),
    "tokens": TaskInfo(TOKENS, "tags of your own words", ("token f1", "accuracy")),
    "span": TaskInfo(SPAN, "answers in your own texts", ("span f1", "exact match")),
    "choice": TaskInfo(CHOICE, "your own choices", ACCURACY),
    # tasks from the default corpus; see sotu.py
    "sotu-era": TaskInfo(SENTENCE, "when was it said?", ("accuracy", "macro f1")),
    "sotu-shuffled": TaskInfo(SENTENCE, "are the words in order, or were five of them shuffled?", ACCURACY),
    "sotu-next": TaskInfo(SENTENCE, "does the second passage follow the first?", ACCURACY),
    "sotu-punctuation": TaskInfo(TOKENS, "restore the punctuation", ("token f1", "accuracy")),
    "sotu-replaced": TaskInfo(SPAN, "find the replaced word", ("exact match", "span f1")),
}

# tasks that earlier versions could train, so that their models still load -> the task to train instead
RETIRED = {
    "sotu-party": (TaskInfo(SENTENCE, "which party's president said it?", ACCURACY), "sotu-era"),
    "sotu-order": (TaskInfo(SENTENCE, "are the two sentences in the right order?", ACCURACY), "sotu-next"),
    "sotu-inserted": (TaskInfo(SPAN, "find the inserted sentence", ("exact match", "span f1")), "sotu-replaced"),
}


def task_info(name: str) -> TaskInfo:
    """The TaskInfo of the task called `name`, even if it is retired.  Raises ValueError if there is no such task."""
    if name in RETIRED:
        return RETIRED[name][0]
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; choose one of {', '.join(TASKS)}")
    return TASKS[name]
