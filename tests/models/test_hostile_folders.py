"""Names within a model folder's files that lead out of the folder: refused, and nothing there is read."""

import doctest
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from minibert.base import names
from minibert.inference.sentence_folder import load_recipe
from minibert.models.huggingface import find_weights, read_tensors, save_tensors

OUTSIDE = [
    "../secret.safetensors",
    "/etc/passwd",
    "a/model.safetensors",
    "..\\secret.safetensors",
    "C:secret",
    "..",
    "",
    "a\0b",
]
WEIGHTS = {"linear.weight": np.ones((2, 2), np.float32)}


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(names).failed == 0


def write_index(folder: Path, *files) -> None:
    content = {"weight_map": {f"tensor {number}": name for number, name in enumerate(files)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", [*OUTSIDE, 1, None, ["x"], {"a": 1}])
def test_an_index_of_other_folders_files(tmp_path, name):
    """Earlier, the folder was left out of the name without a word."""
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    for path in (tmp_path / "secret.safetensors", folder / "a" / "model.safetensors", folder / "secret.safetensors"):
        save_tensors(path, WEIGHTS)
    write_index(folder, "secret.safetensors", name)
    with pytest.raises(ValueError, match="lists the file .*; expected names of files|it lists no files") as error:
        find_weights(folder)
    assert "\n" not in str(error.value) and "index.json" in str(error.value)


def test_an_index_of_its_own_files(tmp_path):
    for name in ("b.safetensors", "a.safetensors"):
        save_tensors(tmp_path / name, {name: np.ones(2, np.float32)})
    write_index(tmp_path, "b.safetensors", "a.safetensors", "b.safetensors")
    assert find_weights(tmp_path) == [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    assert set(read_tensors(find_weights(tmp_path))) == {"a.safetensors", "b.safetensors"}


def test_an_index_that_is_nested_without_end(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map":' * 99_999)
    with pytest.raises(ValueError, match="nested too deeply"):
        find_weights(tmp_path)


@pytest.fixture
def sentences(tmp_path):
    """A folder of sentence-transformers with a Dense layer, and a second one beside it."""
    folder = tmp_path / "model"
    for part, values in (
        ("1_Pooling", {"word_embedding_dimension": 2, "pooling_mode_mean_tokens": True}),
        ("2_Dense", {"in_features": 2, "out_features": 2, "bias": False}),
    ):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(values))
    save_tensors(folder / "2_Dense" / "model.safetensors", WEIGHTS)
    shutil.copytree(folder, tmp_path / "other")
    return folder


def write_modules(folder: Path, *paths) -> None:
    kinds = "Transformer", "Pooling", "Dense"
    modules = [{"type": f"models.{kind}", "path": path} for kind, path in zip(kinds, paths, strict=True)]
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize("path", ["", ".", "0_Transformer", "0_Transformer/", "a/b"])
def test_modules_within_the_folder(sentences, path):
    write_modules(sentences, path, "1_Pooling", "2_Dense")
    recipe = load_recipe(sentences)
    assert recipe.body == sentences / path and len(recipe.steps) == 1


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    "path", ["../other/{}", "{root}/other/{}", "a/../../other/{}", "..\\other\\{}", "./../{}", 1, None, []]
)
def test_modules_elsewhere(sentences, tmp_path, number, path):
    paths = ["", "1_Pooling", "2_Dense"]
    paths[number] = path.format(paths[number], root=tmp_path) if isinstance(path, str) else path
    write_modules(sentences, *paths)
    with pytest.raises(ValueError, match="modules.json: a module has the path .*; expected a folder within"):
        load_recipe(sentences)
