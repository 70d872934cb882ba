"""Encoders: the plain ones equal gguf's byte for byte; those that search err no more than ggml's."""
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


@pytest.mark.parametrize("type_name", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4", "TQ1_0", "TQ2_0"])
def test_equal_to_gguf(type_name, tmp_path):
    values = weights()
    width = 256 if type_name.startswith("TQ") else 32
    expected = quants.quantize(values.reshape(-1, width), Type[type_name]).view(np.uint8).ravel()
    assert (quantize(type_name, values, tmp_path) == expected).all()


def relative_rmse(type_name, values, folder, weights=None):
    blocks = quantize(type_name, values, folder, weights)
    decoded = quants.dequantize(blocks.reshape(1, -1), Type[type_name]).ravel()
    counts = np.ones_like(values) if weights is None else weights
    return np.sqrt(np.mean(counts * (decoded - values) ** 2) / np.mean(counts * values ** 2))


# ggml's own errors on the same values (ggml_quantize_chunk of llama.cpp 0ce8cd1), without importances and with
# those of the test. One scale and minimum for 32 values without a search would give 0.076 for Q4_K.
GGML = {"Q4_0": (0.08558, 0.07255), "Q4_1": (0.07785, 0.05703), "Q5_0": (0.04245, 0.03608), "Q5_1": (0.03773, 0.02764),
        "Q2_K": (0.29504, 0.20165), "Q3_K": (0.15048, 0.12215), "Q4_K": (0.07089, 0.05843), "Q5_K": (0.03592, 0.03017),
        "Q6_K": (0.01763, 0.01484), "IQ4_NL": (0.07582, 0.06520), "IQ4_XS": (0.07639, 0.06610)}


@pytest.mark.parametrize("type_name", GGML)
def test_errors_beside_ggml(type_name, tmp_path):
    """No more than 1.2 percent above."""
    values = np.random.default_rng(3).normal(0, 0.02, 256 * 256).astype(np.float32)
    importance = np.random.default_rng(4).gamma(0.3, 1, 1024).astype(np.float32) + np.float32(1e-4)
    plain, weighted = GGML[type_name]
    assert relative_rmse(type_name, values, tmp_path) < 1.012 * plain
    assert relative_rmse(type_name, values, tmp_path, np.tile(importance, 64)) < 1.012 * weighted


@pytest.mark.parametrize("type_name", GGML)
def test_importances_that_say_nothing(type_name, tmp_path):
    """A block in which nothing matters is coded as if all did."""
    values = np.random.default_rng(3).normal(0, 0.02, 512).astype(np.float32)
    weights = np.repeat([0.0, 1.0], 256)
    plain, weighted = quantize(type_name, values, tmp_path), quantize(type_name, values, tmp_path, weights)
    half = len(plain) // 2
    assert (plain[:half] == weighted[:half]).all()


@pytest.mark.parametrize("type_name, near", [("Q2_K", 0.002), ("Q3_K", 0.002), ("Q4_K", 0.002), ("Q5_K", 0.002),
                                             ("Q6_K", 0.002), ("IQ4_NL", 0.002), ("IQ4_XS", 0.002)])
def test_searched_formats_on_odd_weights(type_name, near, tmp_path):
    """Zeros and constants come back (nearly) as they are; nothing becomes infinite."""
    values = weights()
    blocks = quantize(type_name, values, tmp_path)
    decoded = quants.dequantize(blocks.reshape(1, -1), Type[type_name]).ravel()
    assert np.isfinite(decoded).all()
    start = 3 * 4096
    assert np.abs(decoded[start:start + 256] - 0.125).max() < near
    assert (decoded[start + 256:start + 512] == 0).all()


@pytest.mark.parametrize("type_name", [*GGML, "Q8_0", "MXFP4", "TQ1_0", "TQ2_0"])
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
    with pytest.raises(RuntimeError, match="IQ2_S tensor: the type has no encoder"):
        quantize("IQ2_S", np.zeros(256), tmp_path)


def test_part_of_a_block_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="found 33 elements, expected a multiple of the block of 32"):
        quantize("Q8_0", np.zeros(33), tmp_path)
