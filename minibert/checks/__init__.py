"""Checks that a reader runs and reads: analytic gradients against finite differences."""

from minibert.checks import op_cases  # isort: skip - the ops come first in the table that these two fill
from minibert.checks import feature_cases, model_cases, task_cases
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
