"""Checks that a reader runs and reads: analytic gradients against finite differences."""

# in the order of the table that they fill: ops, layers and whole models, tasks, features
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
