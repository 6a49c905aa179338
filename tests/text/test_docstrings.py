"""The examples in minibert.text's docstrings do what they say."""

import doctest
import importlib
import pkgutil

import pytest

import minibert.text

MODULES = [f"minibert.text.{module.name}" for module in pkgutil.iter_modules(minibert.text.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
