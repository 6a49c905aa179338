"""Checks for readers to run and to read: analytic gradients against finite differences."""

# the order of imports is the order of the table: ops, layers and whole models, tasks, features
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
