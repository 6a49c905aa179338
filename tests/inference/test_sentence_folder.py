"""Folders of sentence-transformers: the vectors of its documented formulas (in PyTorch, padded), or a refusal by name.

With the library installed, the same folders are also compared with the library itself.
"""

import itertools
import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minibert import cli
from minibert.inference import encode
from minibert.inference.sentence_folder import LEGACY, MODES, load_recipe
from minibert.models import Bert
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY = [*SPECIAL_TOKENS, *"the sun shines on a cat sleeps query : The Sun passage no ##s one".split()]
TEXTS = [
    "The Sun shines on a cat",
    "a",
    "no one sleeps, the cat sleeps on the sun and the cats",
    "the cats : no one",
    "?",
]
WIDTH = 16
TRANSFORMER = "sentence_transformers.models.Transformer"


def write_json(path, values):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(values))


@cache
def files_of_bert():
    """The files of a small BERT, name -> content."""
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=24,
    )  # fmt: skip
    torch.manual_seed(1)
    model = transformers.BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def write(folder, *, modes=("mean",), legacy=True, steps=(), sub="", cased=False, **more):
    """A folder in the form that the library writes; more: settings of the Transformer, the Pooling and the library."""
    from safetensors.numpy import save_file

    body, random = folder / sub, np.random.default_rng(5)
    body.mkdir(parents=True, exist_ok=True)
    for name, data in files_of_bert().items():
        (body / name).write_bytes(data)
    Tokenizer(VOCABULARY, lowercase=not cased, model_max_length=20).save(body)
    write_json(
        body / "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False} | more.get("body", {})
    )
    pooling = {"pooling_mode": list(modes) if len(modes) > 1 else modes[0], "embedding_dimension": WIDTH}
    if legacy:
        pooling = {name: False for name in LEGACY} | {"word_embedding_dimension": WIDTH}
        pooling |= {name: True for name, mode in LEGACY.items() if mode in [MODES[mode] for mode in modes]}
    write_json(folder / "1_Pooling" / "config.json", pooling | more.get("pooling", {}))
    names = [(TRANSFORMER, sub), ("sentence_transformers.models.Pooling", "1_Pooling")]
    width = WIDTH * len(modes)
    for number, step in enumerate(steps, 2):
        kind = "Normalize" if step == "Normalize" else "Dense"
        names.append((f"sentence_transformers.models.{kind}", f"{number}_{kind}"))
        if kind == "Dense":
            dense = {
                "in_features": width,
                "out_features": 9,
                "bias": step != "ReLU",
                "activation_function": "torch.nn.",
            }
            dense["activation_function"] += f"modules.{'linear' if step == 'Identity' else 'activation'}.{step}"
            write_json(folder / f"{number}_Dense" / "config.json", dense | more.get("dense", {}))
            weights = {"linear.weight": random.standard_normal((9, width)).astype(np.float32)}
            if dense["bias"]:
                weights["linear.bias"] = random.standard_normal(9).astype(np.float32)
            save_file(weights, folder / f"{number}_Dense" / "model.safetensors")
            width = 9
        else:
            (folder / f"{number}_{kind}").mkdir()
    listed = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (kind, path) in enumerate(names)]
    write_json(folder / "modules.json", listed)
    if "library" in more:
        write_json(folder / "config_sentence_transformers.json", more["library"])


def by_formula(folder, texts, *, modes, steps=(), sub="", prompt="", skip=0, length=12, lower=False):
    """The vectors, computed as the library documents them, on one padded batch in float64."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / sub)
    model = transformers.AutoModel.from_pretrained(folder / sub).double().eval()
    texts = [(prompt + text).lower() if lower else prompt + text for text in texts]
    given = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    with torch.no_grad():
        tokens = model(**given)[0]
    mask = given["attention_mask"].double()
    mask[:, :skip] = 0
    wide, count = mask[..., None], mask.sum(1, keepdim=True)
    weights = wide * torch.arange(1, wide.shape[1] + 1)[:, None]
    last = (mask * torch.arange(wide.shape[1])).argmax(1)
    formulas = {
        "cls": lambda: tokens[:, skip],
        "max": lambda: tokens.masked_fill(wide == 0, -torch.inf).max(1).values,
        "mean": lambda: (tokens * wide).sum(1) / count,
        "mean_sqrt_len_tokens": lambda: (tokens * wide).sum(1) / count.sqrt(),
        "weightedmean": lambda: (tokens * weights).sum(1) / weights.sum(1),
        "lasttoken": lambda: tokens[torch.arange(len(last)), last],
    }
    vectors = torch.cat([formulas[mode]() for mode in modes], 1).numpy()
    random = np.random.default_rng(5)
    for step in steps:
        if step == "Normalize":
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            continue
        vectors = vectors @ random.standard_normal((9, vectors.shape[1])).astype(np.float32).T
        if step != "ReLU":
            vectors = vectors + random.standard_normal(9).astype(np.float32)
        vectors = {"Tanh": np.tanh, "ReLU": lambda x: np.maximum(x, 0), "Identity": lambda x: x}[step](vectors)
    return vectors


def ours(folder, texts, **options):
    recipe = load_recipe(folder)
    model = Bert.from_pretrained(recipe.body, "reference")
    return encode(model, recipe.tokenizer(), texts, recipe=recipe, **options)


ORDER = list(MODES)
CASES = [
    *(dict(modes=(mode,), legacy=legacy) for mode, legacy in itertools.product(ORDER, (True, False))),
    dict(modes=tuple(sorted(("mean", "cls", "max"), key=ORDER.index)), steps=("Tanh", "Normalize")),
    dict(modes=("lasttoken", "mean"), legacy=False, steps=("Normalize", "ReLU")),
    dict(modes=("mean",), steps=("Normalize",), sub="0_Transformer"),
    dict(modes=("cls",), steps=("Identity", "Tanh")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_vectors_are_those_of_the_formulas(case, tmp_path):
    write(tmp_path, **case)
    expected = by_formula(tmp_path, TEXTS, **{name: case[name] for name in case if name != "legacy"})
    np.testing.assert_allclose(ours(tmp_path, TEXTS), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ORDER)
def test_prompts_with_and_without_a_part_in_pooling(mode, tmp_path):
    library = {"prompts": {"query": "the query: "}, "default_prompt_name": "query"}
    for include in (True, False):
        folder = tmp_path / str(include)
        write(folder, modes=(mode,), pooling={"include_prompt": include}, library=library)
        prompt = load_recipe(folder).prompt()
        assert prompt == "the query: "
        skip = 0 if include else 4  # [CLS] the query :
        expected = by_formula(folder, TEXTS, modes=(mode,), prompt=prompt, skip=skip)
        np.testing.assert_allclose(ours(folder, TEXTS, prompt=prompt), expected, atol=1e-5)


@pytest.mark.parametrize(("length", "expected"), [(5, 5), (None, 20), (100, 24)])
def test_the_length(length, expected, tmp_path):
    write(tmp_path, body={"max_seq_length": length})
    texts = ["the sun shines on a cat " * 6]
    formula = by_formula(tmp_path, texts, modes=("mean",), length=expected)
    np.testing.assert_allclose(ours(tmp_path, texts), formula, atol=1e-5)


def test_do_lower_case_with_a_cased_vocabulary(tmp_path):
    write(tmp_path, cased=True, body={"do_lower_case": True})
    formula = by_formula(tmp_path, TEXTS, modes=("mean",), lower=True)
    np.testing.assert_allclose(ours(tmp_path, TEXTS), formula, atol=1e-5)


def test_the_commands_use_it_and_an_option_that_overrides_says_so(tmp_path, capsys, caplog):
    model, lines, out = tmp_path / "model", tmp_path / "lines.txt", tmp_path / "v.npy"
    prompts = {"query": "query: ", "document": "passage : "}
    write(model, modes=("cls",), steps=("Normalize",), library={"prompts": prompts, "similarity_fn_name": "dot"})
    lines.write_text("\n".join(TEXTS))
    options = [str(model), str(lines), "--out", str(out), "--backend", "reference"]
    assert cli.main(["encode", *options]) == 0
    expected = by_formula(model, TEXTS, modes=("cls",), steps=("Normalize",))
    np.testing.assert_allclose(np.load(out), expected, atol=1e-5)
    assert "replaces" not in caplog.text
    assert cli.main(["encode", *options, "--pooling", "max", "--prompt", "query"]) == 0
    assert "--pooling max replaces the model's own, cls" in caplog.text
    prompted = by_formula(model, TEXTS, modes=("max",), steps=("Normalize",), prompt="query: ")
    np.testing.assert_allclose(np.load(out), prompted, atol=1e-5)
    assert cli.main(["encode", *options, "--prompt", "x"]) == 2
    assert "--prompt is 'x'; the model's prompts are query, document" in capsys.readouterr().err
    assert cli.main(["search", str(model), str(lines), "the cat", "--backend", "reference", "--top", "5"]) == 0
    query = by_formula(model, ["the cat"], modes=("cls",), steps=("Normalize",), prompt="query: ")
    documents = by_formula(model, TEXTS, modes=("cls",), steps=("Normalize",), prompt="passage : ")
    scores = {line[9:]: float(line[:7]) for line in capsys.readouterr().out.splitlines()}
    assert scores == pytest.approx(dict(zip(TEXTS, (documents @ query.T)[:, 0], strict=True)), abs=6e-5)


REFUSED = [
    (dict(body={"transformer_task": "fill-mask"}), "transformer_task is 'fill-mask'"),
    (dict(body={"query_expansion": {"x": 1}}), "query_expansion is"),
    (dict(body={"max_seq_length": "long"}), "max_seq_length is 'long'"),
    (dict(pooling={"pooling_mode_attention": True}), "pooling pooling_mode_attention is not supported"),
    (dict(legacy=False, pooling={"pooling_mode": "median"}), "the pooling median is not supported"),
    (dict(steps=("Tanh",), dense={"activation_function": "torch.nn.modules.activation.Mish"}), "activation.Mish"),
    (dict(steps=("Tanh",), dense={"use_residual": True}), "use_residual is set"),
    (dict(steps=("Tanh",), dense={"out_features": 8}), "the weights do not fit config.json"),
    (dict(steps=("Tanh",), dense={"module_input_name": "token_embeddings"}), "module_input_name is 'token_embeddings'"),
    (dict(library={"similarity_fn_name": "euclidean"}), "similarity_fn_name is 'euclidean'"),
    (dict(library={"default_prompt_name": "x"}), "default_prompt_name is 'x'"),
]


@pytest.mark.parametrize(("case", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_not_supported_is_refused_by_name(case, words, tmp_path, capsys):
    write(tmp_path / "model", **case)
    (tmp_path / "lines.txt").write_text("a\n")
    capsys.readouterr()  # the progress of transformers
    assert cli.main(["encode", str(tmp_path / "model"), str(tmp_path / "lines.txt"), "--out", "/dev/null.npy"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    with pytest.raises(ValueError, match="model") as error:
        load_recipe(tmp_path / "model")
    assert words in str(error.value)


def test_other_modules_and_incomplete_folders_are_refused(tmp_path):
    write(tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.CNN"
    write_json(tmp_path / "modules.json", modules)
    with pytest.raises(
        ValueError, match="the modules are Transformer, CNN; expected a Transformer and a Pooling first"
    ):
        load_recipe(tmp_path)
    (tmp_path / "modules.json").unlink()
    with pytest.raises(ValueError, match="has a 1_Pooling but no modules.json"):
        load_recipe(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_vectors_are_those_of_the_library(tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="compared where sentence-transformers is installed")
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "passage"}
    cases = [*CASES, dict(cased=True, body={"do_lower_case": True})]
    for number, (case, include) in enumerate(itertools.product(cases, (True, False))):
        folder = tmp_path / str(number)
        write(folder, **case, library=prompts, pooling={"include_prompt": include})
        theirs, recipe = library.SentenceTransformer(str(folder), device="cpu"), load_recipe(folder)
        for function, prompt in (
            (theirs.encode, recipe.prompt()),
            (theirs.encode_query, recipe.prompt("query")),
            (theirs.encode_document, recipe.prompt("document")),
        ):
            mine = ours(folder, TEXTS, prompt=prompt)
            np.testing.assert_allclose(mine, function(TEXTS), atol=1e-5, rtol=1e-5, err_msg=f"{case} {function}")
