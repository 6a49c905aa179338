"""Checks that a reader runs and reads: analytic gradients against finite differences."""

from minibert.checks.cases import CASES, cases_of
from minibert.checks.gradients import TOLERANCE, Case, Result, check_gradients, numeric_gradient

__all__ = ["CASES", "TOLERANCE", "Case", "Result", "cases_of", "check_gradients", "numeric_gradient"]
