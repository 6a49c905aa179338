"""Models: BERT, its heads, and the files they come from."""

from minibert.models.bert import Bert
from minibert.models.config import PRESETS, BertConfig
from minibert.models.fill import fill_mask
from minibert.models.pretraining import BertForPreTraining
from minibert.models.tasks import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    TaskModel,
)

__all__ = [
    "PRESETS",
    "Bert",
    "BertConfig",
    "BertForMultipleChoice",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "TaskModel",
    "fill_mask",
]
