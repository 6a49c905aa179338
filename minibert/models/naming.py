"""Parameter names in model files: current names, older names, and DistilBERT's names in both directions.

minibert itself uses the names of `transformers.BertForPreTraining`.
"""

import re

import numpy as np

OLD_ENDINGS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}

# DistilBERT (Sanh et al. 2019) is a BERT with half the layers, no segments, no pooler, and names of its own
IN_ITS_LAYERS = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
IN_ITS_HEAD = {
    "vocab_transform.": "cls.predictions.transform.dense.",
    "vocab_layer_norm.": "cls.predictions.transform.LayerNorm.",
    "vocab_projector.": "cls.predictions.decoder.",
}
WRAPPERS = "module.", "0.auto_model."  # prefixes of PyTorch's DataParallel and of sentence-transformers
TO_ITS_LAYERS = {ours: theirs for theirs, ours in IN_ITS_LAYERS.items()}
PRE_CLASSIFIER = "pre_classifier."
OUR_MLM_BIAS = "cls.predictions.bias"  # the decoder's bias
OUR_LAYER = re.compile(rf"bert\.encoder\.layer\.(\d+)\.({'|'.join(map(re.escape, TO_ITS_LAYERS))})\.(weight|bias)")
ITS_LAYER = re.compile(r"(?:distilbert\.)?transformer\.layer\.(\d+)\.(.+)\.(weight|bias)")


def todays_names(tensors: dict[str, np.ndarray], segments: bool = True) -> dict[str, np.ndarray]:
    """Rename tensors to BertForPreTraining's names.

    segments: whether the model has segment embeddings; if so, zeros are added to the tensors of a DistilBERT.
    Raises ValueError if two tensors get the same name.
    """
    for prefix in WRAPPERS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if any(ITS_LAYER.fullmatch(name) for name in tensors):
        tensors = {of_distilbert(name): tensor for name, tensor in tensors.items()}
        if segments:
            width = tensors["bert.embeddings.word_embeddings.weight"].shape[1]
            tensors["bert.embeddings.token_type_embeddings.weight"] = np.zeros((2, width), np.float32)
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in OLD_ENDINGS.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        if name in renamed:
            raise ValueError(f"two tensors are both {name}, under an old name and under today's")
        renamed[name] = tensor
    return renamed


def with_pooler(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a DistilBERT classifier, with its pre_classifier as a pooler (with ReLU instead of tanh)."""
    return {name.replace(PRE_CLASSIFIER, "bert.pooler.dense."): tensor for name, tensor in tensors.items()}


def of_distilbert(name: str) -> str:
    """Convert DistilBERT's name of a parameter to BERT's; other names are returned unchanged.

    >>> of_distilbert("distilbert.transformer.layer.3.attention.q_lin.weight")
    'bert.encoder.layer.3.attention.self.query.weight'
    """
    if match := ITS_LAYER.fullmatch(name):
        layer, part, kind = match.groups()
        return f"bert.encoder.layer.{layer}.{IN_ITS_LAYERS.get(part, part)}.{kind}"
    for theirs, ours in IN_ITS_HEAD.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    name = name.removeprefix("distilbert.")
    return f"bert.{name}" if name.startswith("embeddings.") else name


def to_distilbert(name: str) -> str:
    """Convert BERT's name of a parameter to DistilBERT's: the inverse of `of_distilbert`.

    Raises ValueError for a parameter that a DistilBERT does not have.

    >>> to_distilbert("bert.encoder.layer.3.attention.self.query.weight")
    'distilbert.transformer.layer.3.attention.q_lin.weight'
    """
    if match := OUR_LAYER.fullmatch(name):
        layer, part, kind = match.groups()
        return f"distilbert.transformer.layer.{layer}.{TO_ITS_LAYERS[part]}.{kind}"
    for theirs, ours in IN_ITS_HEAD.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    if name == OUR_MLM_BIAS:
        return "vocab_projector.bias"
    if name.startswith("bert.embeddings.") and "token_type" not in name:
        return f"distilbert.{name.removeprefix('bert.')}"
    raise ValueError(f"DistilBERT has no parameter {name!r}; save this model as a BERT")
