"""For teachers: grades the answers in students' notebooks.  The student edition is without this package."""

from minibert.grading.grade import Grade, Rules, Student, find_students, grade_all
from minibert.grading.hidden import hidden, judge_hidden
from minibert.grading.points import chosen, points_of

__all__ = ["Grade", "Rules", "Student", "chosen", "find_students", "grade_all", "hidden", "judge_hidden", "points_of"]
