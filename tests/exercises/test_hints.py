"""What is said about a wrong answer whose mistake nobody foresaw, and about a check that was called wrongly."""

import numpy as np
import pytest

from minibert.exercises import EXERCISES, check, judge
from minibert.exercises.cells import advice_on_name
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG


def solution(name):
    return EXERCISES[name].shown or EXERCISES[name].solution


class TestWorst:
    def test_the_worst_output_is_reported_not_the_first(self):
        def backward(d, cache):
            d_x, d_weight, d_bias = solution("linear_backward")(d, cache)
            d_weight[0, 0] *= 1 + 1e-3
            d_bias[0] += 10
            return d_x, d_weight, d_bias

        text = judge("linear_backward", backward).text
        assert "d_bias came out as" in text and "already right: d_x" in text

    def test_also_where_it_is_wrong_in_a_later_case_only(self):
        def backward(d, cache):
            d_x, d_weight, d_bias = solution("linear_backward")(d, cache)
            d_weight[0, 0] *= 1 + 1e-3
            return d_x, d_weight, d_bias + 5 * (len(d) == 1)

        assert "with one token, d_bias" in judge("linear_backward", backward).text

    def test_the_worst_launch_of_a_kernel_too(self):
        from minibert.exercises.cuda import SCALE

        text = judge("scale", SCALE.replace("*= factor", "*= n == 50 ? factor * 5 : factor * 1.001f")).text
        assert text.startswith("with 50 numbers")


class TestTuples:
    def test_a_comma_after_the_result(self):
        text = judge("softmax", lambda scores: (solution("softmax")(scores),)).text
        assert "a tuple with one element instead of the probabilities" in text and "comma" in text

    def test_two_results_instead_of_one(self):
        text = judge("softmax", lambda scores: (scores, solution("softmax")(scores))).text
        assert "a tuple of 2 results instead of the probabilities alone; element 1 is right" in text
        text = judge("clip", lambda gradients, limit: (gradients[0], gradients[1])).text
        assert "a tuple of 2 results instead of the gradients alone" in text

    def test_a_tuple_of_rows_is_still_as_good_as_an_array(self):
        assert judge("softmax", lambda scores: tuple(solution("softmax")(scores))).state == RIGHT
        text = judge("softmax", lambda scores: tuple(2 * solution("softmax")(scores))).text
        assert "2 times as large" in text


class TestMissingReturn:
    def test_on_the_branch_of_some_cases(self):
        def clip(gradients, max_norm):
            flat = np.concatenate([g.ravel() for g in gradients])
            norm = np.sqrt((flat**2).sum())
            if norm > max_norm:
                return flat * max_norm / norm

        verdict = judge("clip", clip)
        assert verdict.state == WRONG
        assert "with a norm below the limit, your function returns nothing (None)" in verdict.text
        assert "`return` missing on one branch" in verdict.text

    def test_on_the_branch_of_the_first_case(self):
        verdict = judge("masked_loss", lambda x, y: None if len(x) == 2 else solution("masked_loss")(x, y))
        assert verdict.state == WRONG and "missing on one branch" in verdict.text

    def test_on_some_steps_of_a_schedule(self):
        def learning_rate(step, steps, peak, rising):
            if step < rising:
                return peak * (step + 1) / rising

        text = judge("learning_rate", learning_rate).text
        assert "with 100 steps, 10 of warm-up, your function returns nothing (None) at step 10" in text
        assert judge("learning_rate", lambda step, *others: None).state == NOT_DONE

    def test_one_of_three_results(self):
        text = judge("linear_backward", lambda d, c: (solution("linear_backward")(d, c)[0], None, d.sum(0))).text
        assert "d_weight is None" in text


class TestSwapped:
    def test_by_their_names(self):
        def softmax_backward(probabilities, d_probabilities):
            return solution("softmax_backward")(d_probabilities, probabilities)

        text = judge("softmax_backward", softmax_backward).text
        assert "in the order (probabilities, d_probabilities).  The order is (d_probabilities, probabilities)" in text

    def test_by_what_they_hold(self):
        text = judge("scatter_add", lambda a, b, c: solution("scatter_add")(b, a, c)).text
        assert "(ids, rows, size)" in text
        text = judge("clip", lambda limit, gradients: solution("clip")(gradients, limit)).text
        assert "(max_norm, gradients)" in text

    def test_three_in_a_circle(self):
        def scatter_add(size, rows, ids):
            return solution("scatter_add")(rows, ids, size)

        assert "(size, rows, ids)" in judge("scatter_add", scatter_add).text

    def test_behind_a_wrapper(self):
        def learning_rate(steps, step, peak, rising):
            return solution("learning_rate")(step, steps, peak, rising)

        assert "(steps, step, peak, rising)" in judge("learning_rate", learning_rate).text

    def test_the_search_prints_nothing(self, capsys):
        judge("softmax_backward", lambda d, p: print("once a case") or d)
        assert capsys.readouterr().out.splitlines() == ["once a case"] * 3

    def test_of_check_itself(self):
        with pytest.raises(ValueError, match=r'the name of the exercise comes first: check\("softmax", softmax\)'):
            check(solution("softmax"), "softmax")
        with pytest.raises(ValueError, match="comes first"):
            check("__global__ void scale() {}", "scale")


class TestNames:
    def test_a_mistyped_exercise(self):
        for typed, meant in (
            ("softmx", "softmax"),
            ("layer_norm_backward", "layernorm_backward"),
            ("Attend", "attend"),
        ):
            with pytest.raises(ValueError, match=f"there is no exercise '{typed}'; did you mean '{meant}'?"):
                check(typed, lambda scores: None)
        with pytest.raises(ValueError, match="choose one of count_pairs, merge_pair"):
            check("xyz", lambda scores: None)
        with pytest.raises(ValueError, match="expected the name of an exercise"):
            check(solution("softmax"), solution("softmax"))

    def test_a_cell_that_was_not_run(self):
        scope = {}
        exec(
            "def attend(query, key, value):\n    return softmax(query @ key.T / np.sqrt(query.shape[1])) @ value", scope
        )
        text = judge("attend", scope["attend"]).text
        assert "NameError" in text and "name 'softmax' is not defined; run the lesson's code cell " in text
        assert "which has the line `def softmax(scores):`" in text
        scope["softmax"] = solution("softmax")
        assert "which has the line `import numpy as np`" in judge("attend", scope["attend"]).text

    def test_a_mistyped_name(self):
        assert advice_on_name("softmx", 4) == "did you mean softmax?"
        assert advice_on_name("xyzzy", 4) == "" and advice_on_name("xyzzy", 99) == ""
        assert advice_on_name("defaultdict", 1) == "write `from collections import defaultdict` in a cell before it"

    def test_a_variable_that_is_not_assigned_yet_is_no_matter_of_cells(self):
        def softmax(scores):
            if scores is None:
                np = 1
            return np.exp(scores)

        text = judge("softmax", softmax).text
        assert "UnboundLocalError" in text and "code cell" not in text


class TestOfAnotherKind:
    def test_too_few_parameters(self):
        text = judge("attend", lambda query, key: query).text
        assert "raises TypeError" in text and "it is called with 3 arguments: query, key, value" in text

    def test_a_generator(self):
        def softmax(scores):
            yield solution("softmax")(scores)

        assert "a generator; write `def` and `return`, without `yield`" in judge("softmax", softmax).text

    def test_results_that_share_their_memory(self):
        memory = np.empty((9, 9))

        def softmax(scores):
            result = memory[: scores.shape[0], : scores.shape[1]]
            result[...] = solution("softmax")(scores)
            return result

        assert judge("softmax", softmax).state == RIGHT

    def test_tiles_that_are_changed_in_place(self):
        def online_attention(query, key, value, tile):
            key -= 1
            return key @ query

        assert "your function changes its arguments" in judge("online_attention", online_attention).text
