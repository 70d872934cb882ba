import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "reference"))

import marian_folders as marian  # noqa: E402


@pytest.fixture(scope="session")
def tokenizer():
    return marian.make_tokenizer(400, normalization="identity")  # small files: gguf reads bytes slowly


@pytest.fixture
def model(tokenizer):
    """(weights, config, tokenizer) of a small model."""
    config = marian.make_config(400)
    return marian.random_weights(config, seed=6), config, tokenizer
