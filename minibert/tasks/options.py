"""Options that cannot act on a task are refused, so that none is ignored."""

from dataclasses import fields

from minibert.tasks.config import FinetuneConfig
from minibert.tasks.registry import SENTENCE, SPAN, TOKENS, task_info

OF_COLUMNS = "text_column", "pair_column", "label_column", "label_names"
OF_SPANS = "stride", "max_answer", "n_best", "null_threshold"
HOLDS_OUT = "dev_examples", "dev_share"


def check_options(config: FinetuneConfig) -> None:
    """Raise ValueError for an option that was given (other than its default) but cannot act on the task or its files.

    Stored options are not checked, so that the folders of earlier versions, which ignored such options, still load.
    """
    info, why = task_info(config.task), {}
    if config.task.startswith("sotu-"):
        why |= dict.fromkeys(OF_COLUMNS, "its data comes from the default corpus")
    if info.kind == TOKENS:
        why["pair_column"] = "it has no second text"
    if info.kind not in (SENTENCE, TOKENS):
        why["label_names"] = "its labels are not classes"
    elif info.labels is not None:
        why["label_names"] = "it has names for its labels"
    if info.kind != SPAN:
        why |= dict.fromkeys(OF_SPANS, "its answers are not spans of a text")
    if config.dev is not None and not config.tune:
        why |= dict.fromkeys(HOLDS_OUT, "--dev has the examples for evaluation")
    elif config.dev_examples is not None:
        why["dev_share"] = "--dev-examples says how many to hold out"
    defaults = {field.name: field.default for field in fields(FinetuneConfig)}
    for name, reason in why.items():
        if getattr(config, name) != defaults[name]:
            raise ValueError(f"--{name.replace('_', '-')} cannot act on --task {config.task}: {reason}; omit it")
    if config.label_names is not None and not all(name.strip() for name in config.label_names.split(",")):
        raise ValueError(f"--label-names is {config.label_names!r}; expected a name for each number, without gaps")
    if config.label_names is not None and len(set(config.names_of_labels)) < 2:
        raise ValueError(
            f"--label-names is {config.label_names!r}; expected different names, such as O,B-person,I-person"
        )
    if len(set(config.names_of_labels)) < len(config.names_of_labels):
        raise ValueError(f"--label-names is {config.label_names!r}; expected each name once")
