"""Encoders: the plain ones equal gguf's byte for byte; the K formats stay within known errors."""
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type, quants

from support import quantize


def weights():
    """Rows like a network's: normal, heavy-tailed, all positive, constant, zero, tiny, huge."""
    rng = np.random.default_rng(11)
    rows = [rng.normal(0, 0.02, 4096), rng.standard_t(3, 4096) * 0.05, rng.uniform(0.5, 1, 4096),
            np.full(256, 0.125), np.zeros(256), rng.normal(0, 1e-6, 1024),
            rng.normal(0, 1e3, 1024), np.where(rng.random(1024) < 0.01, 3.0, 0.0)]
    return np.concatenate(rows).astype(np.float32)


@pytest.mark.parametrize("type_name", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_equal_to_gguf(type_name, tmp_path):
    values = weights()
    expected = quants.quantize(values.reshape(-1, 32), Type[type_name]).view(np.uint8).ravel()
    assert (quantize(type_name, values, tmp_path) == expected).all()


def relative_rmse(type_name, values, folder):
    blocks = quantize(type_name, values, folder)
    decoded = quants.dequantize(blocks.reshape(1, -1), Type[type_name]).ravel()
    return np.sqrt(np.mean((decoded - values) ** 2) / np.mean(values ** 2))


# Normal weights. One scale and minimum for 32 values without a search would give 0.076 for Q4_K.
@pytest.mark.parametrize("type_name, limit", [("Q4_K", 0.0720), ("Q5_K", 0.0364), ("Q6_K", 0.0178)])
def test_k_formats_on_normal_weights(type_name, limit, tmp_path):
    values = np.random.default_rng(3).normal(0, 0.02, 256 * 256).astype(np.float32)
    assert relative_rmse(type_name, values, tmp_path) < limit


@pytest.mark.parametrize("type_name", ["Q4_K", "Q5_K", "Q6_K"])
def test_k_formats_on_odd_weights(type_name, tmp_path):
    """Zeros and constants come back (nearly) as they are; nothing becomes infinite."""
    values = weights()
    blocks = quantize(type_name, values, tmp_path)
    decoded = quants.dequantize(blocks.reshape(1, -1), Type[type_name]).ravel()
    assert np.isfinite(decoded).all()
    start = 3 * 4096
    assert np.abs(decoded[start:start + 256] - 0.125).max() < 0.002
    assert (decoded[start + 256:start + 512] == 0).all()


@pytest.mark.parametrize("type_name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"])
def test_values_that_are_no_numbers_do_no_harm(type_name, tmp_path):
    """A block with NaN or infinity is spoilt; its neighbours are not."""
    values = np.random.default_rng(5).normal(0, 1, (3, 256)).astype(np.float32)
    clean = quantize(type_name, values, tmp_path).reshape(3, -1)
    values[1, ::3] = np.nan
    values[1, 1::3] = -np.inf
    values[1, 2::3] = np.inf
    spoilt = quantize(type_name, values, tmp_path).reshape(3, -1)
    assert (spoilt[[0, 2]] == clean[[0, 2]]).all()


def test_type_without_encoder_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="Q2_K tensor: the type has no encoder"):
        quantize("Q2_K", np.zeros(256), tmp_path)


def test_part_of_a_block_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="found 33 elements, expected a multiple of the block of 32"):
        quantize("Q8_0", np.zeros(33), tmp_path)
