"""Exercises: solutions are right, and each typical wrong answer gets its own hint, however it is written."""

import textwrap
from collections import Counter

import numpy as np
import pytest

from minibert import exercises
from minibert.exercises import EXERCISES, check, embeddings, hint, hints, judge, layer, learning, solution, task_metrics
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG
from minibert.exercises.judging import compare, judge_function
from minibert.exercises.kernels import KernelExercise
from minibert.exercises.progress import progress_file, read_progress
from minibert.exercises.showing import without_annotations
from minibert.ops.reference.embedding import scatter_add
from minibert.ops.reference.normal import normal_density
from minibert.tasks import metrics
from minibert.training.optimizer import learning_rate_at
from tests.exercises import answers_of_readers, answers_that_passed, later_answers, repairs, wrong_answers

FUNCTIONS = [name for name, exercise in EXERCISES.items() if exercise.judge is None]
SOURCES = [name for name in EXERCISES if name not in FUNCTIONS]
ALL_WRONG = [
    pytest.param(name, answer, words, id=f"{name}-{number}")
    for name, answers in [*wrong_answers.WRONG.items(), *answers_of_readers.WRONG.items(), *repairs.WRONG.items()]
    for number, (answer, words) in enumerate(answers)
]
ALL_WRONG_KERNELS = [
    pytest.param(name, source, words, id=f"{name}-{number}")
    for name, answers in [*wrong_answers.KERNELS.items(), *answers_of_readers.WRONG_KERNELS.items()]
    for number, (source, words) in enumerate(answers)
]


def flat(*groups):
    """{name: answers} -> (name, answer), or (name, answer, words) for wrong ones."""
    return [
        (name, *answer) if isinstance(answer, tuple) else (name, answer)
        for group in groups
        for name, answers in group.items()
        for answer in answers
    ]


ALL_RIGHT = flat(answers_of_readers.RIGHT, answers_that_passed.RIGHT, later_answers.RIGHT, repairs.RIGHT)
RIGHT_KERNELS = flat(answers_of_readers.RIGHT_KERNELS, answers_that_passed.RIGHT_KERNELS, later_answers.RIGHT_KERNELS)


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBERT_PROGRESS", str(tmp_path / "progress" / "progress.json"))


def unwrapped(name):
    """An exercise whose solution and mistakes, which are wrapped already, can be judged like answers."""
    exercise = EXERCISES[name]
    return exercise if exercise.wrap is None else type(exercise)(**{**vars(exercise), "wrap": None})


def test_each_lesson_has_at_least_three():
    lessons = [exercise.lesson for exercise in EXERCISES.values()]
    assert {lesson: lessons.count(lesson) for lesson in range(1, 13) if lessons.count(lesson) < 3} == {}


def test_each_has_hints_in_steps_a_note_and_three_mistakes():
    assert all(exercise.hints and exercise.note and exercise.task for exercise in EXERCISES.values())
    assert all(len(exercise.mistakes) >= 3 for exercise in EXERCISES.values())
    by_others = wrong_answers.WRONG | wrong_answers.KERNELS | repairs.WRONG
    assert set(by_others) == set(EXERCISES) and all(len(answers) >= 3 for answers in by_others.values())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_solution_is_right(name):
    assert judge_function(unwrapped(name), EXERCISES[name].solution).state == RIGHT


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_mistake_gets_its_own_hint(name):
    exercise = unwrapped(name)
    for mistake in exercise.mistakes:
        assert judge_function(exercise, mistake.function).text == mistake.hint


@pytest.mark.parametrize("name, answer, words", ALL_WRONG)
def test_a_mistake_that_others_write_in_their_own_way_gets_the_same_hint(name, answer, words):
    verdict = judge(name, answer)
    assert verdict.state == WRONG
    assert words in verdict.text
    assert verdict.text in [mistake.hint for mistake in EXERCISES[name].mistakes]


@pytest.mark.parametrize("name, answer, words", flat(answers_that_passed.WRONG))
def test_what_was_once_judged_right_is_wrong(name, answer, words):
    verdict = judge(name, answer)
    assert verdict.state == WRONG and words in verdict.text


@pytest.mark.parametrize("name, answer", ALL_RIGHT)
def test_what_others_write_is_right_too(name, answer):
    assert judge(name, answer).state == RIGHT


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_argument_can_be_ignored(name):
    """An answer that has the first case's number in its body, in place of an argument, must fail in another case."""
    exercise = EXERCISES[name]
    function = exercise.shown or exercise.solution
    first = next(iter(exercise.tries())).arguments
    for position, value in enumerate(first):
        if isinstance(value, int | float):

            def ignoring(*arguments, position=position, value=value):
                return function(*arguments[:position], value, *arguments[position + 1 :])

            assert not judge(name, ignoring).right, f"argument {position + 1}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_solution_can_be_pasted_into_its_cell(name):
    """It needs no more than NumPy, what its lesson has imported, and the lesson's earlier functions."""
    exercise = EXERCISES[name]
    function = exercise.shown or exercise.solution
    earlier = [other for other in EXERCISES.values() if other.lesson == exercise.lesson and other.judge is None]
    scope = {"np": np, "normal_density": normal_density, "Counter": Counter}
    scope |= {other.solution.__name__: other.solution for other in earlier if hasattr(other.solution, "__name__")}
    scope |= {given: getattr(layer, given) for given in layer.GIVEN if exercise.lesson == layer.LESSON}
    exec(textwrap.dedent(exercises.source_of(exercise)), scope)
    assert judge(name, scope[function.__name__]).state == RIGHT


def test_solutions_equal_what_the_package_does():
    random = np.random.default_rng(0)
    for steps, rising in ((100, 10), (7, 2)):
        for step in range(steps):
            ours = learning.learning_rate(step, steps, 0.3, rising)
            assert ours == pytest.approx(learning_rate_at(step, steps=steps, peak=0.3, warmup=rising / steps))
    for _ in range(200):
        tags = random.choice(["O", "B-per", "I-per", "B-loc", "I-loc"], 8).tolist()
        assert task_metrics.find_entities(tags) == metrics.entities(tags)
        truth, said = random.integers(0, 2, (2, 6)).tolist()
        assert task_metrics.matthews(truth, said) == pytest.approx(metrics.matthews(truth, said))
    rows, ids = random.standard_normal((9, 3)), random.integers(0, 5, 9)
    np.testing.assert_allclose(embeddings.scatter_add(rows, ids, 5), scatter_add(rows, ids, (5, 3)), rtol=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("nothing", [None, ...], ids=["None", "Ellipsis"])
def test_what_is_not_begun_is_not_done_yet(name, nothing):
    assert judge(name, lambda *arguments: nothing).state == NOT_DONE


def test_not_implemented_is_not_done_yet_either():
    def softmax(scores):
        raise NotImplementedError

    assert judge("softmax", softmax).state == NOT_DONE


class TestKernels:
    pytestmark = pytest.mark.slow

    @pytest.mark.parametrize("name", SOURCES)
    def test_the_solution_is_right(self, name):
        assert isinstance(EXERCISES[name], KernelExercise)
        assert judge(name, EXERCISES[name].solution).state == RIGHT

    @pytest.mark.parametrize("name, source", RIGHT_KERNELS)
    def test_what_others_write_is_right_too(self, name, source):
        assert judge(name, source).state == RIGHT

    @pytest.mark.parametrize("name", SOURCES)
    def test_each_mistake_gets_its_own_hint(self, name):
        for mistake in EXERCISES[name].mistakes:
            assert judge(name, mistake.function).text == mistake.hint

    @pytest.mark.parametrize("name, source, words", ALL_WRONG_KERNELS)
    def test_a_mistake_that_others_write_in_their_own_way_gets_the_same_hint(self, name, source, words):
        verdict = judge(name, source)
        assert verdict.state == WRONG and words in verdict.text

    @pytest.mark.parametrize("name, source, words", flat(answers_that_passed.WRONG_KERNELS, later_answers.ABOUT))
    def test_what_was_once_judged_right_is_wrong(self, name, source, words):
        verdict = judge(name, source)
        assert verdict.state == WRONG and words in verdict.text

    @pytest.mark.thorough
    def test_more_of_both(self):
        for name, source, words in flat(wrong_answers.MORE_KERNELS, answers_that_passed.MORE_WRONG_KERNELS):
            verdict = judge(name, source)
            assert verdict.state == WRONG and words in verdict.text
        assert all(judge(name, source).right for name, source in flat(answers_that_passed.MORE_RIGHT_KERNELS))

    def test_a_missing_barrier_is_told_with_its_line(self):
        source, _ = wrong_answers.KERNELS["row_sums"][0]
        line = source.splitlines().index("    int t = threadIdx.x;")  # the kernel's lines are told as they are counted
        assert line and "kernel.cu:" in judge("row_sums", source).text

    def test_a_kernel_that_does_not_compile_is_told_what_the_compiler_says(self):
        verdict = judge("scale", EXERCISES["scale"].solution.replace("float factor", "float factr"))
        assert verdict.state == WRONG and "factor" in verdict.text


def test_an_exercise_that_another_took_the_place_of_says_so(capsys):
    """In notebooks and records of progress that people have; nothing of theirs is run, counted or lost."""
    for name, successor in exercises.SUCCESSORS.items():
        assert name not in EXERCISES and successor in EXERCISES
        verdict = judge(name, lambda *_: 1 / 0)
        assert verdict.state == NOT_DONE and f'check("{successor}", ...)' in verdict.text
        check(name, None)
        assert hints(name)._repr_html_() == hints(successor)._repr_html_()
    path = progress_file()
    path.parent.mkdir(parents=True)
    path.write_text('{"mean_pool": "2026-01-31", "best_by_likelihood": "2026-02-01"}')
    check("softmax", EXERCISES["softmax"].solution)
    done = read_progress()
    assert done["mean_pool"] == "2026-01-31" and {"softmax", "best_by_score"} < {*done} and "pool_padded" not in done


def test_a_kernel_that_is_not_begun_is_not_done_yet():
    assert judge("scale", "__global__ void scale(float* x, int n, float factor) {\n    // ...\n}").state == NOT_DONE
    assert judge("scale", lambda: None).state == WRONG


class TestDiagnosis:
    """Of mistakes that nobody foresaw."""

    def test_an_error_is_told_with_the_case_and_the_line(self):
        def softmax(scores):
            return scores[99]

        text = judge("softmax", softmax).text
        assert "with 3 queries, 5 keys" in text and "IndexError" in text and "line" in text

    def test_a_changed_input(self):
        def softmax(scores):
            scores -= scores.max(axis=1, keepdims=True)
            return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

        assert "changes its argument number 1" in judge("softmax", softmax).text

    def test_a_wrong_shape(self):
        assert "came out with the shape [5]; expected [3, 5]" in judge("softmax", lambda scores: scores[0]).text

    def test_a_transposed_result(self):
        right = EXERCISES["linear_backward"].solution
        text = judge("linear_backward", lambda d, c: (right(d, c)[0].T, *right(d, c)[1:])).text
        assert "transposed?" in text and "already right: d_weight, d_bias" in text

    def test_too_few_results(self):
        assert (
            "returns 1 result; it should return 3: d_x, d_weight, d_bias"
            in judge("linear_backward", lambda d, c: d).text
        )

    def test_lists_are_as_good_as_arrays_and_tuples(self):
        softmax, linear = EXERCISES["softmax"].solution, EXERCISES["linear_backward"].solution
        assert judge("softmax", lambda scores: softmax(scores).tolist()).state == RIGHT
        assert judge("softmax", lambda scores: [*softmax(scores)]).state == RIGHT
        assert judge("linear_backward", lambda d, c: [x.tolist() for x in linear(d, c)]).state == RIGHT

    def test_a_forgotten_return(self):
        def scatter_add(rows, ids, size):
            out = np.zeros((size, rows.shape[1]))
            np.add.at(out, ids, rows)

        def linear_backward(d_y, cache):
            x, weight = cache
            ...

        assert "Is a `return` missing?" in judge("scatter_add", scatter_add).text
        assert judge("linear_backward", linear_backward).text == "not done yet"

    def test_a_dictionary_is_told_by_the_first_entry_that_differs(self):
        right = EXERCISES["count_pairs"].solution
        assert "lacks the key ('l', '##o'); expected 7 for it" in judge("count_pairs", lambda words: {}).text
        text = judge("count_pairs", lambda words: right(words) | {("l", "##o"): 5}).text
        assert "has 5 for ('l', '##o'); expected 7" in text
        text = judge("count_pairs", lambda words: right(words) | {("x", "y"): 5}).text
        assert "has 5 for ('x', 'y'), which should not be there" in text

    def test_an_epsilon_too_many(self):
        right = EXERCISES["softmax"].solution
        assert (
            "came out with a relative error of 1e-06"
            in judge("softmax", lambda scores: right(scores) / (1 + 1e-6)).text
        )

    def test_a_factor(self):
        right = EXERCISES["softmax_backward"].solution
        assert (
            "came out 3 times as large as it should be" in judge("softmax_backward", lambda d, p: 3 * right(d, p)).text
        )

    def test_a_whole_number_is_told_in_full(self):
        text = judge("layer_parameters", lambda hidden, inner: 7_087_871 if hidden == 768 else 1).text
        assert "the number of parameters came out as 7,087,871; expected 7,087,872" in text

    def test_a_sign(self):
        right = EXERCISES["softmax_backward"].solution
        assert "wrong sign" in judge("softmax_backward", lambda d, p: -right(d, p)).text

    def test_nan(self):
        right = EXERCISES["nearest"].solution
        assert "came out with NaN" in judge("nearest", lambda *given: right(*given) * np.nan).text

    def test_what_is_right_in_some_cases_only(self):
        right = EXERCISES["embed"].solution
        first = next(iter(EXERCISES["embed"].tries()))
        text = judge("embed", lambda ids, *others: right(ids, *others) + (len(ids) == len(first.arguments[0]))).text
        assert f"with {first.what}" in text and "Your function is right with" in text

    def test_two_mistakes_at_once_get_two_hints(self):
        right = EXERCISES["linear_backward"].solution
        text = judge("linear_backward", lambda d, c: (right(d, c)[0], right(d, c)[1].T, d.mean(axis=0))).text
        assert "d_weight is transposed" in text and "not their mean" in text

    def test_another_type(self):
        assert "came out as 'x'; expected" in compare("x", {1: 2})

    def test_the_right_elements_in_another_container(self):
        right = EXERCISES["merge_pair"].solution
        assert "but is a list; return a tuple" in judge("merge_pair", lambda *a: list(right(*a))).text

    def test_a_set_for_an_array(self):
        right = EXERCISES["rows_read"].solution
        assert "came out as a set; return an array" in judge("rows_read", lambda m, c: set(right(m, c).tolist())).text

    def test_an_argument_that_is_changed_within_a_list(self):
        def clip(gradients, max_norm):
            norm = np.sqrt(sum((g**2).sum() for g in gradients))
            for g in gradients:
                g *= min(1, max_norm / norm)
            return np.concatenate([g.ravel() for g in gradients])

        assert "changes its argument number 1" in judge("clip", clip).text

    def test_a_line_of_ours_is_not_told_as_the_readers(self):
        assert "expected pairs (start, end), end exclusive" in judge("pieces", lambda n, p: [[1, 2, 3]] * p).text
        assert "in its line" not in judge("pieces", lambda n, p: [[1, 2, 3]] * p).text

    def test_no_function_at_all(self):
        assert judge("softmax", 3).state == WRONG


def test_an_unknown_name_is_told():
    with pytest.raises(ValueError, match="there is no exercise 'softmx'"):
        check("softmx", lambda scores: None)


def test_hints_come_one_by_one_and_the_solution_when_asked(capsys):
    hint("softmax", 1)
    first = capsys.readouterr().out
    hint("softmax", 2)
    assert capsys.readouterr().out != first
    with pytest.raises(ValueError, match="has hints 1 to 2, so there is no hint 3"):
        hint("softmax", 3)
    solution("softmax")
    assert "def softmax(scores)" in capsys.readouterr().out
    shown = hints("softmax")
    assert shown._repr_html_().count("<details>") == 3 and "def softmax" not in repr(shown)


@pytest.mark.parametrize("name", EXERCISES)
def test_each_solution_can_be_shown(name):
    source = exercises.source_of(EXERCISES[name])
    assert "def " in source or "__global__" in source
    assert "lambda" not in source.splitlines()[0]


class TestProgress:
    def test_what_is_right_is_remembered(self, capsys):
        check("softmax", EXERCISES["softmax"].solution)
        assert "right" in capsys.readouterr().out
        assert list(exercises.read_progress()) == ["softmax"]

    def test_what_is_wrong_is_not_and_takes_nothing_away(self, capsys):
        check("softmax", EXERCISES["softmax"].solution)
        check("softmax", lambda scores: scores)
        check("attend", lambda query, key, value: 1 / 0)
        assert list(exercises.read_progress()) == ["softmax"]

    def test_an_exercise_that_was_renamed_stays_done_and_is_found_by_both_names(self, tmp_path, capsys):
        path = tmp_path / "progress" / "progress.json"
        path.parent.mkdir()
        path.write_text('{"best_by_likelihood": "2026-01-31"}')
        assert exercises.read_progress() == {"best_by_score": "2026-01-31"}
        path.unlink()
        exercises.check("best_by_likelihood", exercises.EXERCISES["best_by_score"].solution)
        assert "✓" in capsys.readouterr().out and list(exercises.read_progress()) == ["best_by_score"]

    def test_a_broken_file_is_set_aside(self, tmp_path):
        path = tmp_path / "progress" / "progress.json"
        path.parent.mkdir()
        path.write_text('{"softmax": ')
        assert exercises.read_progress() == {}
        assert path.with_suffix(".unreadable").read_text() == '{"softmax": '

    def test_where_it_cannot_be_written_the_lesson_goes_on(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("MINIBERT_PROGRESS", str(tmp_path / "file" / "progress.json"))
        check("softmax", EXERCISES["softmax"].solution)
        assert "right" in capsys.readouterr().out


def test_a_solution_is_shown_with_the_signature_of_its_cell():
    source = "def f(\n    x: np.ndarray, y: float = 1.0\n) -> tuple[int, dict]:\n    # why\n    return {1: 2}\n"
    assert without_annotations(source) == "def f(x, y=1.0):\n    # why\n    return {1: 2}\n"
    assert without_annotations("def f(x):  # [N]\n    if x:\n        return 1\n").endswith(
        ":\n    if x:\n        return 1\n"
    )
    assert all("->" not in exercises.source_of(exercise).splitlines()[0] for exercise in EXERCISES.values())
