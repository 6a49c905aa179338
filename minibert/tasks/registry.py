"""The registry of tasks: the kind, the file format and the metrics of each task, by name."""

from dataclasses import dataclass

SENTENCE, REGRESSION, TOKENS, SPAN, CHOICE = "sentence", "regression", "tokens", "span", "choice"


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns, or of a record's fields.

    Each is a tuple of the names that are in use for it, of which the first one present in a file is read.
    """

    text: tuple[str, ...]
    """the text; for words, the words; for spans, the text with the answer; for choices, the text to be continued"""
    pair: tuple[str, ...] = ()
    """the second text of a pair, if there is one; for spans, the question; for choices, the endings, or the beginning
    of their columns' names"""
    label: tuple[str, ...] = ("label",)
    """the label; for words, their labels; for spans, the answers; for choices, the number of the correct ending"""


@dataclass(frozen=True)
class OwnColumns:
    """The names that the user gave; None: those that the task has."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    label_names: tuple[str, ...] = ()
    """the names of labels that are given as numbers, from 0"""


STANDARD = {  # kind -> the names that minibert gives the fields, and those that the library `datasets` gives them
    SENTENCE: Columns(("text",)),
    REGRESSION: Columns(("text",)),
    TOKENS: Columns(("words", "tokens"), (), ("labels", "ner_tags")),
    SPAN: Columns(("context",), ("question",), ("answers",)),
    CHOICE: Columns(("text", "sent1"), ("endings", "ending")),
}


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
    """the names of the columns in the task's files; None for those in STANDARD"""
    labels: dict[str, str] | None = None
    """label in the file -> class name, in the order of class ids; None: the sorted labels in the file are the names"""
    numbers: tuple[str, ...] = ()
    """the names of labels that a file gives as numbers, from 0, as the library `datasets` does"""
    positions: tuple[int, int] | None = None
    """the indices of the columns of text and label in a table without a header line"""
    no_label: tuple[str, ...] = ()
    """labels that say that an example has none; such examples are passed over in training and evaluation"""
    broken_rows: bool = False
    """whether the data set is known to have broken rows, which are passed over"""

    @property
    def names(self) -> Columns:
        """The names of the columns or fields of the task's files."""
        return self.columns or STANDARD[self.kind]


ACCURACY = ("accuracy",)
ENTITIES = ("entity f1", "entity precision", "entity recall")
SENTENCE_PAIR = ("sentence1",), ("sentence2",)
INFERENCE = "entailment", "not_entailment"


def tags_of(*types: str) -> tuple[str, ...]:
    """The BIO tags of entity types, numbered as `datasets` numbers them."""
    return ("O", *(f"{prefix}-{name}" for name in types for prefix in "BI"))


TASKS = {
    # GLUE (Wang et al. 2018), as its files are distributed
    "sst2": TaskInfo(
        SENTENCE, "sentiment (SST-2)", ACCURACY, Columns(("sentence",)), {"0": "negative", "1": "positive"}
    ),
    "cola": TaskInfo(
        SENTENCE,
        "is it grammatical? (CoLA)",
        ("matthews", "accuracy"),
        Columns(("sentence",)),
        {"0": "unacceptable", "1": "acceptable"},
        positions=(3, 1),
    ),
    "stsb": TaskInfo(
        REGRESSION, "similarity (STS-B)", ("pearson", "spearman"), Columns(*SENTENCE_PAIR, ("score", "label"))
    ),
    "mrpc": TaskInfo(
        SENTENCE,
        "paraphrase (MRPC)",
        ("accuracy", "f1"),
        Columns(("#1 String", "sentence1"), ("#2 String", "sentence2"), ("Quality", "label")),
        {"0": "different", "1": "paraphrase"},
    ),
    "qqp": TaskInfo(
        SENTENCE,
        "do both questions mean the same? (QQP)",
        ("accuracy", "f1"),
        Columns(("question1",), ("question2",), ("is_duplicate", "label")),
        {"0": "different", "1": "duplicate"},
        broken_rows=True,
    ),
    "mnli": TaskInfo(
        SENTENCE,
        "inference (MNLI)",
        ACCURACY,
        Columns(("sentence1", "premise"), ("sentence2", "hypothesis"), ("gold_label", "label")),
        numbers=("entailment", "neutral", "contradiction"),
        no_label=("-", "-1"),
    ),
    "qnli": TaskInfo(
        SENTENCE,
        "does the sentence answer the question? (QNLI)",
        ACCURACY,
        Columns(("question",), ("sentence",)),
        numbers=INFERENCE,
    ),
    "rte": TaskInfo(SENTENCE, "inference (RTE)", ACCURACY, Columns(*SENTENCE_PAIR), numbers=INFERENCE),
    # SICK (Marelli et al. 2014)
    "sick": TaskInfo(
        SENTENCE,
        "inference (SICK)",
        ACCURACY,
        Columns(("sentence_A",), ("sentence_B",), ("entailment_judgment", "entailment_label", "label")),
        numbers=("ENTAILMENT", "NEUTRAL", "CONTRADICTION"),
    ),
    "sick-relatedness": TaskInfo(
        REGRESSION,
        "relatedness (SICK)",
        ("pearson", "spearman"),
        Columns(("sentence_A",), ("sentence_B",), ("relatedness_score",)),
    ),
    # one word per line, with a BIO tag in the last column
    "conll": TaskInfo(TOKENS, "named entities (CoNLL-2003)", ENTITIES, numbers=tags_of("PER", "ORG", "LOC", "MISC")),
    "wnut": TaskInfo(
        TOKENS,
        "rare entities (WNUT-17)",
        ENTITIES,
        numbers=tags_of("corporation", "creative-work", "group", "location", "person", "product"),
    ),
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
