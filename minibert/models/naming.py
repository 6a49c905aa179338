"""Parameter names in model files: current names, older names, and DistilBERT's names.

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
ITS_LAYER = re.compile(r"(?:distilbert\.)?transformer\.layer\.(\d+)\.(.+)\.(weight|bias)")


def todays_names(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename tensors to BertForPreTraining's names; a DistilBERT has no segment embeddings, so zeros are added."""
    if any(ITS_LAYER.fullmatch(name) for name in tensors):
        tensors = {of_distilbert(name): tensor for name, tensor in tensors.items()}
        width = tensors["bert.embeddings.word_embeddings.weight"].shape[1]
        tensors["bert.embeddings.token_type_embeddings.weight"] = np.zeros((2, width), np.float32)
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in OLD_ENDINGS.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        renamed[name] = tensor
    return renamed


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
