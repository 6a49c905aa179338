"""The metrics equal those of scikit-learn, scipy, seqeval and SQuAD's official script, on random cases."""

import warnings

import numpy as np
import pytest

from minibert.tasks import metrics
from minibert.tasks.codecs import Prediction
from minibert.tasks.examples import WordsExample
from minibert.tasks.task import Task, scores_by_name
from minibert.text import Tokenizer

SCHEMES = {"BIO": "BI", "IOB1": "IIIB", "BIOES": "BIES", "BILOU": "BILU"}  # the letters, I- in IOB1 more often
CASES = range(60)


def random_classes(random, count, classes):
    truth = [f"class {i}" for i in random.integers(0, classes, count)]
    noise = random.random(count) < random.random()
    return truth, [
        f"class {random.integers(0, classes)}" if other else t for t, other in zip(truth, noise, strict=True)
    ]


@pytest.mark.parametrize("seed", CASES)
def test_classes_as_scikit_learn(seed):
    scores = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: extra `peers`")
    random = np.random.default_rng(seed)
    truth, said = random_classes(random, int(random.integers(1, 40)), int(random.integers(1, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are never predicted
        assert metrics.accuracy(truth, said) == pytest.approx(scores.accuracy_score(truth, said))
        assert metrics.macro_f1(truth, said) == pytest.approx(scores.f1_score(truth, said, average="macro"))
        assert metrics.matthews(truth, said) == pytest.approx(scores.matthews_corrcoef(truth, said))
        of_one = scores.f1_score(truth, said, labels=["class 0"], average="macro", zero_division=0)
        assert metrics.f1_of(truth, said, "class 0") == pytest.approx(of_one)


@pytest.mark.parametrize("seed", CASES)
def test_numbers_as_scipy(seed):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: it comes with scikit-learn, `peers`")
    random = np.random.default_rng(seed)
    truth = random.integers(0, 6, 30) / 2  # many equal ones
    said = truth + random.standard_normal(30)
    assert metrics.pearson(truth, said) == pytest.approx(stats.pearsonr(truth, said)[0])
    assert metrics.spearman(truth, said) == pytest.approx(stats.spearmanr(truth, said)[0])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("seed", CASES)
def test_entities_as_seqeval(seed, scheme):
    """Tags at random: entities that begin with I-, change their type in the middle, end with the sentence.

    BILOU is not known to seqeval's default mode: it is scored in the strict mode, with the scheme named.
    """
    seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed: extra `peers`")
    from seqeval.scheme import BILOU

    random = np.random.default_rng(seed)
    labels = ["O", *(f"{letter}-{name}" for letter in SCHEMES[scheme] for name in ("per", "loc-x"))]
    truth = [list(map(str, random.choice(labels, random.integers(1, 9)))) for _ in range(8)]
    said = [[t if random.random() < 0.7 else str(random.choice(labels)) for t in tags] for tags in truth]
    strict = {"mode": "strict", "scheme": BILOU} if scheme == "BILOU" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [getattr(seqeval, f"{name}_score")(truth, said, **strict) for name in ("precision", "recall", "f1")]
    assert metrics.is_bilou(labels) == (scheme == "BILOU")
    assert metrics.entity_scores(truth, said, bilou=metrics.is_bilou(labels)) == pytest.approx(expected)
    names = ("entity f1", "entity precision", "entity recall")
    task = Task("conll", tuple(labels))
    codec = task.codec(Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    examples = [WordsExample(tuple(tags), tuple(tags)) for tags in truth]
    scores = scores_by_name(task, codec, examples, [Prediction(tuple(tags)) for tags in said])
    assert [scores[name] for name in names] == pytest.approx([expected[2], *expected[:2]])


def test_tags_of_two_schemes_are_refused():
    with pytest.raises(ValueError, match="the tags mix BILOU and BIOES: B-x, E-x, O, U-x; expected the tags of one"):
        metrics.is_bilou(["O", "B-x", "E-x", "U-x"])


WORDS = ["The", "a", "an", "cat", "Cat,", "sat", "on", "1976", "the", "mat.", "-", "don't"]


@pytest.mark.parametrize("seed", CASES)
def test_answers_as_squads_script(seed):
    squad = pytest.importorskip("torchmetrics.functional.text", reason="torchmetrics is not installed: `peers`").squad
    random = np.random.default_rng(seed)

    def phrase():
        return " ".join(random.choice(WORDS, random.integers(1, 5)))

    answers, said = [phrase() for _ in range(random.integers(1, 4))], phrase()
    if random.random() < 0.3:
        said = answers[0].upper()
    expected = squad(
        [{"prediction_text": said, "id": "q"}],
        [{"answers": {"answer_start": [0] * len(answers), "text": answers}, "id": "q"}],
    )
    assert 100 * metrics.exact_match(answers, said) == pytest.approx(float(expected["exact_match"]))
    assert 100 * metrics.span_f1(answers, said) == pytest.approx(float(expected["f1"]), rel=1e-5)


def test_no_answer_is_right_where_there_is_none():
    """SQuAD 2.0: the empty answer, and only that."""
    assert metrics.exact_match([], "") == metrics.span_f1([], "") == 1
    assert metrics.exact_match([], "a cat") == 0 and metrics.span_f1([], "cat") == 0
    assert metrics.exact_match(["cat"], "") == metrics.span_f1(["cat"], "") == 0


def test_marks_are_counted_where_they_are_or_are_said():
    truth, said = [["O", ",", ".", "O"]], [["O", ".", ".", ","]]
    assert metrics.token_f1(truth, said) == pytest.approx(2 * 1 / (2 + 3))
    assert metrics.token_f1([["O"]], [["O"]]) == 0


def test_one_side_that_is_constant_correlates_with_nothing():
    assert metrics.matthews(["a", "b"], ["a", "a"]) == metrics.pearson([1, 2], [3, 3]) == 0


def test_metrics_by_name():
    got = metrics.measure(("accuracy", "f1"), ["no", "yes", "yes"], ["no", "yes", "no"], positive="yes")
    assert got == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3)}
    words = [("O", "B-x"), ("B-x",)]
    assert metrics.measure(("entity f1", "accuracy"), words, words) == {"entity f1": 1, "accuracy": 1}
    spans = metrics.measure(("exact match", "span f1"), [["a cat"], []], ["the cat", "dog"])
    assert spans == {"exact match": 0.5, "span f1": 0.5}
