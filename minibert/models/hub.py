"""Published models by name, downloaded by the optional package huggingface_hub and kept in that package's cache."""

import re
from pathlib import Path

from minibert.base.folders import check_finished

NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
FILES = (
    "config.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "modules.json",  # those of sentence-transformers
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "*/config.json",
    "*/vocab.txt",
    "*/tokenizer.json",
    "*/tokenizer_config.json",
    "*/sentence_bert_config.json",
)
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")  # but no pickles, which can run code when they are opened


def find_model(name: Path | str, revision: str | None = None) -> Path:
    """Find the folder of a model: a local folder of that name, or else the download of a published model.

    name: a folder, or a name such as "google-bert/bert-base-uncased"; revision: a branch, tag or commit of a published
    model.  Raises FileNotFoundError if neither exists, ValueError if the fine-tuning in the folder has not ended, if a
    revision is given for a folder or if the published model has no safetensors, ModuleNotFoundError without
    huggingface_hub, OSError if the download fails.
    """
    folder = Path(name)
    if folder.is_dir():
        if revision is not None:
            raise ValueError(
                f"--revision {revision} applies only to published models, but {folder} is a local folder; leave it out"
            )
        check_finished(folder)
        return folder
    if folder.exists() or not NAME.fullmatch(str(name)):
        raise FileNotFoundError(
            f"{name} is not a folder; expected a model folder with config.json and model.safetensors"
        )
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'no such folder: {name}; to download a published model of that name, first pip install -e ".[hub]"'
        ) from None
    try:
        folder = Path(snapshot_download(str(name), revision=revision, allow_patterns=[*FILES, *WEIGHTS]))
    except Exception as error:  # the exception types of huggingface_hub differ from version to version
        reason = " ".join(str(error).split()).split(". ")[0]
        raise OSError(
            f"no such folder: {name}, and no published model of that name could be downloaded: {reason}"
        ) from None
    if not any(folder.rglob("*.safetensors")):
        raise ValueError(
            f"the published model {name} has no safetensors file, and minibert does not download pickled weights, "
            'which can run arbitrary code; if you trust the model, convert it: python -c "import transformers as t; '
            f"t.AutoModel.from_pretrained('{name}').save_pretrained('FOLDER'); "
            f"t.AutoTokenizer.from_pretrained('{name}').save_pretrained('FOLDER')\""
        )
    return folder
