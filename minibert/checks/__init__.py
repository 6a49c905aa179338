"""Gradient checks that readers can run and study: they compare analytic gradients with finite differences."""

# the order of these imports determines the order of CASES: ops, layers and whole models, tasks, features
from minibert.checks import op_cases  # isort: skip
from minibert.checks import model_cases  # isort: skip
from minibert.checks import task_cases  # isort: skip
from minibert.checks import feature_cases  # isort: skip
from minibert.checks.cases import CASES, cases_of
from minibert.checks.gradients import TOLERANCE, Case, Result, check_gradients, numeric_gradient

__all__ = [
    "CASES",
    "TOLERANCE",
    "Case",
    "Result",
    "cases_of",
    "check_gradients",
    "feature_cases",
    "model_cases",
    "numeric_gradient",
    "op_cases",
    "task_cases",
]
