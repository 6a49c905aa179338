"""Standard metrics in Python and NumPy, which agree with scikit-learn, seqeval and the SQuAD evaluation script."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

OUTSIDE = "O"

# ------------------------------------------------------------------------------------------------ classes


def accuracy(truth: Sequence, predicted: Sequence) -> float:
    """The share of examples that are classified correctly."""
    return sum(t == p for t, p in zip(truth, predicted, strict=True)) / len(truth)


def f1_of(truth: Sequence, predicted: Sequence, label: Any) -> float:
    """The F1 score of one class (harmonic mean of precision and recall); 0 if it neither occurs nor is predicted."""
    hits = sum(t == p == label for t, p in zip(truth, predicted, strict=True))
    mentioned = sum(t == label for t in truth) + sum(p == label for p in predicted)
    return 2 * hits / mentioned if mentioned else 0.0


def macro_f1(truth: Sequence, predicted: Sequence) -> float:
    """The mean of the F1 scores of all classes that occur or are predicted."""
    return float(np.mean([f1_of(truth, predicted, label) for label in sorted({*truth, *predicted})]))


def matthews(truth: Sequence, predicted: Sequence) -> float:
    """The Matthews correlation coefficient (Gorodkin 2004 for more than two classes); 0 if an argument is constant."""
    labels = sorted({*truth, *predicted})
    number = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)))  # [truth, predicted]
    for t, p in zip(truth, predicted, strict=True):
        table[number[t], number[p]] += 1
    total, right = table.sum(), table.trace()
    is_so, is_said = table.sum(axis=1), table.sum(axis=0)  # [classes] both
    together = right * total - is_so @ is_said
    apart = (total**2 - is_so @ is_so) * (total**2 - is_said @ is_said)
    return float(together / np.sqrt(apart)) if apart > 0 else 0.0


# ------------------------------------------------------------------------------------------------ numbers


def pearson(truth: Sequence[float] | np.ndarray, predicted: Sequence[float] | np.ndarray) -> float:
    """The Pearson correlation coefficient; 0 if an argument is constant."""
    x, y = (np.asarray(values, np.float64) - np.mean(values, dtype=np.float64) for values in (truth, predicted))
    norm = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / norm) if norm > 0 else 0.0


def spearman(truth: Sequence[float], predicted: Sequence[float]) -> float:
    """Spearman's rank correlation coefficient; tied values share the mean of their ranks."""
    return pearson(ranks(truth), ranks(predicted))


def ranks(values: Sequence[float]) -> np.ndarray:
    _, which, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # the highest rank of each value
    return (last - (counts - 1) / 2)[which]


# ------------------------------------------------------------------------------------------------ words


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The entities in a sentence with BIO, IOB1 or BIOES tags, as tuples (type, first word, last word + 1).

    As in conlleval and seqeval's default mode, B- and S- begin an entity, E- and S- end one, and an I- or E- tag that
    does not continue an entity begins a new one.

    >>> sorted(entities(["B-per", "I-per", "O", "I-loc", "B-loc", "E-loc", "I-loc"]))
    [('loc', 3, 4), ('loc', 4, 6), ('loc', 6, 7), ('per', 0, 2)]
    """
    found: set[tuple[str, int, int]] = set()
    begin, kind, last = None, "", ""
    for index, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, name = tag.partition("-")
        name = name or prefix
        new = tag == OUTSIDE or prefix in ("B", "S") or last in ("E", "S") or name != kind
        if begin is not None and new:
            found.add((kind, begin, index))
            begin = None
        if begin is None and tag != OUTSIDE:
            begin, kind = index, name
        last = prefix
    return found


def bilou_entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The entities in a sentence with BILOU tags: U-, or B- and L- with only I- between them, all of one type.

    Incomplete ones do not count, as in seqeval's strict mode with this scheme; its default mode knows no L- or U-.

    >>> sorted(bilou_entities(["B-per", "L-per", "U-loc", "B-loc", "I-loc", "O"]))
    [('loc', 2, 3), ('per', 0, 2)]
    """
    found: set[tuple[str, int, int]] = set()
    begin, kind = None, ""
    for index, tag in enumerate(tags):
        prefix, _, name = tag.partition("-")
        if prefix in ("B", "U"):
            begin, kind = index, name
        elif prefix not in ("I", "L") or name != kind:
            begin = None
        if begin is not None and prefix in ("L", "U"):
            found.add((kind, begin, index + 1))
            begin = None
    return found


def is_bilou(labels: Sequence[str]) -> bool:
    """Whether the labels of a task are BILOU tags.

    Raises ValueError if some of them belong to BILOU and others to BIOES, since an entity would then have two endings.
    """
    prefixes = {label.partition("-")[0] for label in labels if "-" in label}
    if prefixes & {"L", "U"} and prefixes & {"E", "S"}:
        raise ValueError(
            f"the tags mix BILOU and BIOES: {', '.join(sorted(labels))}; expected the tags of one scheme, "
            "or --task tokens to count labels instead of entities"
        )
    return bool(prefixes & {"L", "U"})


def entity_scores(
    truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], bilou: bool = False
) -> tuple[float, float, float]:
    """Precision, recall and F1 over all entities; a predicted entity is correct if its type, start and end match.

    bilou: whether the tags are those of BILOU; otherwise they are those of BIO, IOB1 or BIOES.
    """
    find = bilou_entities if bilou else entities
    hits = is_so = is_said = 0
    for t, p in zip(truth, predicted, strict=True):
        true, said = find(t), find(p)
        hits, is_so, is_said = hits + len(true & said), is_so + len(true), is_said + len(said)
    return ratio(hits, is_said), ratio(hits, is_so), ratio(2 * hits, is_so + is_said)


def token_f1(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """The micro-averaged F1 of all labels other than "O", such as punctuation marks."""
    pairs = [(t, p) for ts, ps in zip(truth, predicted, strict=True) for t, p in zip(ts, ps, strict=True)]
    hits = sum(t == p != OUTSIDE for t, p in pairs)
    return ratio(2 * hits, sum(t != OUTSIDE for t, _ in pairs) + sum(p != OUTSIDE for _, p in pairs))


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


# ------------------------------------------------------------------------------------------------ answers


def normalised(answer: str) -> str:
    """The answer in lower case, without punctuation, articles or extra spaces (Rajpurkar et al. 2016, section 6.1)."""
    answer = "".join(character for character in answer.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", answer).split())


def exact_match(answers: Sequence[str], predicted: str) -> float:
    """1 if the normalised prediction equals one of the answers, or is empty when there are no answers; otherwise 0."""
    return float(any(normalised(answer) == normalised(predicted) for answer in answers or [""]))


def span_f1(answers: Sequence[str], predicted: str) -> float:
    """The highest F1 of the prediction's words against any of the answers.

    If there are no answers: 1 if the prediction is empty, otherwise 0.
    """
    return max(words_f1(normalised(answer).split(), normalised(predicted).split()) for answer in answers or [""])


def words_f1(truth: list[str], predicted: list[str]) -> float:
    if not truth or not predicted:
        return float(truth == predicted)
    same = sum((Counter(truth) & Counter(predicted)).values())
    return ratio(2 * same, len(truth) + len(predicted))


# ------------------------------------------------------------------------------------------------ by name


def measure(
    names: Sequence[str], truth: list, predicted: list, positive: str | None = None, bilou: bool = False
) -> dict[str, float]:
    """Compute the metrics with the given names; returns {name: value}.

    truth, predicted: for each example, a class or number; for words, a sequence of labels; for spans, the list of
    correct answers (truth) and the predicted text (predicted).  positive: the positive class for binary F1;
    bilou: whether tags are those of BILOU.
    """
    flat = [
        [label for labels in side for label in labels] if isinstance(side[0], tuple | list) else side
        for side in (truth, predicted)
    ]
    makers = {
        "accuracy": lambda: accuracy(*flat),
        "f1": lambda: f1_of(truth, predicted, positive),
        "macro f1": lambda: macro_f1(truth, predicted),
        "matthews": lambda: matthews(truth, predicted),
        "pearson": lambda: pearson(truth, predicted),
        "spearman": lambda: spearman(truth, predicted),
        "entity precision": lambda: entity_scores(truth, predicted, bilou)[0],
        "entity recall": lambda: entity_scores(truth, predicted, bilou)[1],
        "entity f1": lambda: entity_scores(truth, predicted, bilou)[2],
        "token f1": lambda: token_f1(truth, predicted),
        "exact match": lambda: float(np.mean([exact_match(t, p) for t, p in zip(truth, predicted, strict=True)])),
        "span f1": lambda: float(np.mean([span_f1(t, p) for t, p in zip(truth, predicted, strict=True)])),
    }
    return {name: makers[name]() for name in names}
