"""Every block format decodes to the same bits as the Python package gguf, random blocks included."""
import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type, quants

from support import dequantize

TYPES = [
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
    "Q6_K", "IQ4_NL", "IQ4_XS", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S",
    "TQ1_0", "TQ2_0", "MXFP4",
]


def same_bits(found, expected):
    """Equal bit for bit; of a NaN only that it is one (which NaN is up to the processor)."""
    nan = np.isnan(expected)
    assert (np.isnan(found) == nan).all()
    words = np.uint32 if expected.dtype == np.float32 else np.uint16
    found, expected = found.view(words), expected.view(words)
    assert (found[~nan] == expected[~nan]).all()


def random_blocks(type_name, blocks=4000):
    """Every byte random: scales are then any half, infinities, NaNs and subnormals included."""
    size = GGML_QUANT_SIZES[Type[type_name]][1]
    return np.random.default_rng(7).integers(0, 256, (blocks, size), dtype=np.uint8)


def expected_values(type_name, blocks):
    with np.errstate(all="ignore"):
        return quants.dequantize(blocks, Type[type_name]).ravel()


@pytest.mark.parametrize("type_name", TYPES)
def test_float32(type_name, tmp_path):
    blocks = random_blocks(type_name)
    same_bits(dequantize(type_name, blocks, tmp_path), expected_values(type_name, blocks))


@pytest.mark.parametrize("type_name", TYPES)
def test_float16(type_name, tmp_path):
    blocks = random_blocks(type_name)
    with np.errstate(all="ignore"):
        expected = expected_values(type_name, blocks).astype(np.float16)
    same_bits(dequantize(type_name, blocks, tmp_path, half=True), expected)


def test_q8_k(tmp_path):
    """gguf has no decoder: a float32 scale times int8, then sums that nobody reads."""
    blocks = random_blocks("Q8_K")
    with np.errstate(all="ignore"):
        expected = blocks[:, :4].copy().view(np.float32) * blocks[:, 4:260].view(np.int8)
    same_bits(dequantize("Q8_K", blocks, tmp_path), expected.astype(np.float32).ravel())


@pytest.mark.parametrize("type_name", ["I8", "I64", "F64", "Q8_1"])
def test_types_without_decoder_are_refused(type_name, tmp_path):
    with pytest.raises(RuntimeError, match=f"{type_name} tensor: the type has no decoder"):
        dequantize(type_name, np.zeros(720, np.uint8), tmp_path)
