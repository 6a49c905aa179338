"""Published models by name: fetched by huggingface_hub, an optional package, and kept in its cache."""

import re
from pathlib import Path

NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
FILES = ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")  # and no pickles, which can run code when they are opened


def find_model(name: Path | str, revision: str | None = None) -> Path:
    """The folder of a model: the one with that name, or the download of a published model.

    name: a folder, or a name such as "google-bert/bert-base-uncased"; revision: a branch, tag or commit of a published
    model.  Raises FileNotFoundError if there is neither, ValueError if a folder is given a revision, or if the
    published model has no safetensors, ModuleNotFoundError without huggingface_hub, OSError if the download fails.
    """
    folder = Path(name)
    if folder.is_dir():
        if revision is not None:
            raise ValueError(f"--revision {revision} is for published models; {folder} is a folder")
        return folder
    if folder.exists() or not NAME.fullmatch(str(name)):
        raise FileNotFoundError(
            f"{name} is not a folder; expected a model folder with config.json and model.safetensors"
        )
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'there is no folder {name}; if it is the name of a published model: pip install -e ".[hub]" first'
        ) from None
    try:
        folder = Path(snapshot_download(str(name), revision=revision, allow_patterns=[*FILES, *WEIGHTS]))
    except Exception as error:  # its exception types differ from version to version
        reason = " ".join(str(error).split()).split(". ")[0]
        raise OSError(
            f"there is no folder {name}, and no published model of that name could be downloaded: {reason}"
        ) from None
    if not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"the published model {name} holds no safetensors, and pickled weights can run code when they are opened: "
            'minibert does not fetch them; convert it where you trust it: python -c "import transformers as t; '
            f"t.AutoModel.from_pretrained('{name}').save_pretrained('FOLDER'); "
            f"t.AutoTokenizer.from_pretrained('{name}').save_pretrained('FOLDER')\""
        )
    return folder
