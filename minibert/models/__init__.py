"""Models: BERT with its heads, GPT, ELMo, DistilBERT, and the files that models are loaded from and saved to."""

from minibert.models.bert import Bert
from minibert.models.distilbert import DistilBertForMaskedLM, initialise_from_teacher, student_config
from minibert.models.elmo import Elmo, ElmoConfig
from minibert.models.gpt import GptForCausalLM
from minibert.models.pretraining import BertForPreTraining
from minibert.models.tasks import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    TaskModel,
)
from minibert.nn.config import PRESETS, BertConfig

__all__ = [
    "PRESETS",
    "Bert",
    "BertConfig",
    "BertForMultipleChoice",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "DistilBertForMaskedLM",
    "Elmo",
    "ElmoConfig",
    "GptForCausalLM",
    "TaskModel",
    "initialise_from_teacher",
    "student_config",
]
