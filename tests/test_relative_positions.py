"""Relative positions against Transformers' models, exact arithmetic and their laws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from telling import assert_quick, assert_told, told
from torch.testing import assert_close
from transformers import LlamaConfig
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gptj import modeling_gptj
from transformers.models.llama import modeling_llama
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from solutions.attention import softmax
from solutions.masks import causal_mask
from solutions.positions import shift_matrix
from solutions.relative_positions import (
    alibi_bias,
    alibi_slopes,
    apply_rope,
    relative_position_bucket,
    rope_frequencies,
    scaled_base,
)

few = settings(derandomize=True, max_examples=30, deadline=None)
layouts = pytest.mark.parametrize("layout", ["interleaved", "half"])
both_widths = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
widths = st.integers(1, 9).map(lambda n_pairs: 2 * n_pairs)
bases = st.sampled_from([2.0, 100.0, 10_000.0, 500_000.0])
positions_ = st.integers(-3000, 3000)


def random(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_exactly_equal(actual, expected):
    np.testing.assert_array_equal(actual, np.asarray(expected), strict=True)


# Buckets


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
    ("num_buckets", "max_distance"), [(32, 128), (12, 40), (14, 50), (20, 64)]
)
def test_buckets_are_those_of_t5(bidirectional, num_buckets, max_distance):
    relative = torch.arange(-1500, 1500).view(3, 1000)
    settings = bidirectional, num_buckets, max_distance
    expected = T5Attention._relative_position_bucket(relative, *settings)
    actual = relative_position_bucket(relative.numpy(), *settings)
    assert_exactly_equal(actual, expected)


def bucket_by_integers(distance, n, max_distance):
    """The formula's bucket without a logarithm, so without rounding."""
    m = n // 2
    if distance < m:
        return distance
    steps = 0  # as many as fit: max_distance^k m^(n-m-k) <= distance^(n-m)
    while steps < n - m - 1 and max_distance ** (steps + 1) * m ** (
        n - m - steps - 1
    ) <= distance ** (n - m):
        steps += 1
    return m + steps


@few
@given(
    distance=st.integers(0, 2000),
    half=st.integers(2, 20),
    longer=st.integers(1, 300),
)
def test_buckets_are_those_of_whole_number_arithmetic(distance, half, longer):
    n, max_distance = 2 * half, half + longer
    expected = bucket_by_integers(distance, n, max_distance)
    back, forward = np.array([-distance]), np.array([distance])
    assert relative_position_bucket(back, False, n, max_distance) == expected
    assert relative_position_bucket(back, True, 2 * n, max_distance) == expected
    after = expected + n if distance else 0
    assert relative_position_bucket(forward, True, 2 * n, max_distance) == after


def test_a_bucket_is_never_nearer_for_a_key_that_is_farther():
    buckets = relative_position_bucket(-np.arange(3000), False)
    assert np.all(np.diff(buckets) >= 0)
    assert set(buckets) == set(range(32))


def test_where_the_buckets_of_t5_begin():
    buckets = relative_position_bucket(-np.arange(200), False)
    starts = np.searchsorted(buckets, np.arange(32))
    assert list(starts[:17]) == list(range(17))
    assert list(starts[-4:]) == [77, 87, 99, 113]


# Linear biases


def authors_slopes(n):
    """What Press et al.'s code computes, after its own recursion."""
    if n & (n - 1) == 0:
        first = 2 ** -(2 ** -(math.log2(n) - 3))
        return [first ** (i + 1) for i in range(n)]
    closest = 2 ** math.floor(math.log2(n))
    more = authors_slopes(2 * closest)[0::2]
    return authors_slopes(closest) + more[: n - closest]


@pytest.mark.parametrize("n_heads", range(1, 71))
def test_slopes_are_those_of_the_authors(n_heads):
    np.testing.assert_allclose(alibi_slopes(n_heads), authors_slopes(n_heads))


@pytest.mark.parametrize("n_heads", range(1, 71))
def test_slopes_are_those_of_bloom_and_of_mpt(n_heads):
    slopes = torch.from_numpy(alibi_slopes(n_heads)).float()
    two_keys = torch.ones(1, 2, dtype=torch.long)  # BLOOM's bias of key 1 is the slope
    bloom = build_alibi_tensor(two_keys, n_heads, torch.float32)
    assert_close(slopes, bloom[:, 0, 1])
    mpt = build_mpt_alibi_tensor(n_heads, 2)
    assert_close(slopes, -mpt[:, 0, 0])


def test_the_slopes_of_eight_heads_are_the_papers():
    assert_exactly_equal(alibi_slopes(8), 1 / 2.0 ** np.arange(1, 9))


@pytest.mark.parametrize(("n_heads", "q_len", "k_len"), [(4, 5, 5), (6, 2, 7)])
def test_bias_is_the_slow_loop(n_heads, q_len, k_len):
    expected = np.zeros((n_heads, q_len, k_len))
    for head, query, key in np.ndindex(expected.shape):
        distance = abs(query + k_len - q_len - key)
        expected[head, query, key] = -authors_slopes(n_heads)[head] * distance
    np.testing.assert_allclose(alibi_bias(n_heads, q_len, k_len), expected)


@pytest.mark.parametrize(("n_heads", "q_len", "k_len"), [(4, 5, 5), (6, 2, 7)])
def test_bias_gives_the_attention_weights_of_bloom_and_of_mpt(n_heads, q_len, k_len):
    # Theirs depends on the key alone: a softmax forgets what a whole row shares.
    scores = np.random.default_rng(0).normal(size=(n_heads, q_len, k_len))
    mask = causal_mask(q_len, k_len)

    def weights(bias):
        return softmax(np.where(mask, scores + bias, -np.inf))

    ours = weights(alibi_bias(n_heads, q_len, k_len))
    all_keys = torch.ones(1, k_len, dtype=torch.long)
    bloom = build_alibi_tensor(all_keys, n_heads, torch.float64).numpy()
    np.testing.assert_allclose(ours, weights(bloom), rtol=1e-6)  # its slopes: float32
    mpt = build_mpt_alibi_tensor(n_heads, k_len).numpy()
    np.testing.assert_allclose(ours, weights(mpt), rtol=1e-6)


# Rotations


@pytest.mark.parametrize(("d_head", "base"), [(8, 10_000.0), (14, 500_000.0), (2, 9.0)])
def test_frequencies_are_those_of_llama(d_head, base):
    config = LlamaConfig(
        head_dim=d_head, rope_parameters={"rope_type": "default", "rope_theta": base}
    )
    expected, scale = modeling_llama.LlamaRotaryEmbedding(
        config
    ).compute_default_rope_parameters(config)
    assert scale == 1
    assert_close(torch.from_numpy(rope_frequencies(d_head, base)).float(), expected)


@few
@given(d_head=widths, base=bases)
def test_frequencies_are_the_papers_formula(d_head, base):
    expected = [base ** (-2 * i / d_head) for i in range(d_head // 2)]
    np.testing.assert_allclose(rope_frequencies(d_head, base), expected)


def ragged_positions(batch, seq_len):
    """Padding on the left and a sequence that starts anew, as `position_ids` has it."""
    positions = np.tile(np.arange(seq_len), (batch, 1))
    positions[0] = np.maximum(np.arange(seq_len) - 2, 0)
    positions[-1, seq_len // 2 :] -= seq_len // 2
    return positions


@both_widths
@pytest.mark.parametrize("heads", [1, 3])
def test_the_half_layout_is_that_of_llama(dtype, heads):
    x, positions = random(2, heads, 5, 14, dtype=dtype), ragged_positions(2, 5)
    inv_freq = rope_frequencies(14)
    angles = torch.from_numpy(positions[..., None] * inv_freq)
    angles = torch.cat([angles, angles], dim=-1)  # as LlamaRotaryEmbedding.forward
    expected, _ = modeling_llama.apply_rotary_pos_emb(
        x, x, angles.cos().to(dtype), angles.sin().to(dtype)
    )
    actual = apply_rope(x.numpy(), positions, inv_freq, "half")
    assert_close(torch.from_numpy(actual), expected)


@both_widths
@pytest.mark.parametrize("heads", [1, 3])
def test_the_interleaved_layout_is_that_of_gptj(dtype, heads):
    x, positions = random(2, heads, 5, 14, dtype=dtype), ragged_positions(2, 5)
    inv_freq = rope_frequencies(14)
    angles = torch.from_numpy(positions[..., None] * inv_freq)
    expected = modeling_gptj.apply_rotary_pos_emb(
        x.transpose(1, 2), angles.sin().to(dtype), angles.cos().to(dtype)
    )
    actual = apply_rope(x.numpy(), positions, inv_freq)
    assert_close(torch.from_numpy(actual), expected.transpose(1, 2))


def test_the_whole_rotation_of_llama_is_ours():
    config = LlamaConfig(head_dim=14, hidden_size=42, num_attention_heads=3)
    x = random(2, 3, 5, 14, dtype=torch.float32)
    positions = ragged_positions(2, 5)
    cos, sin = modeling_llama.LlamaRotaryEmbedding(config)(
        x, torch.from_numpy(positions)
    )
    expected, _ = modeling_llama.apply_rotary_pos_emb(x, x, cos, sin)
    actual = apply_rope(x.numpy(), positions, rope_frequencies(14), "half")
    assert_close(torch.from_numpy(actual), expected)


@few
@given(d_head=widths, base=bases, data=st.data())
def test_a_turn_is_the_shift_matrix_of_chapter_4(d_head, base, data):
    # That one moves rows (sine, cosine), and so clockwise for (a, b).
    position = data.draw(positions_)
    x = np.random.default_rng(0).normal(size=(1, d_head))
    turned = apply_rope(x, np.array([position]), rope_frequencies(d_head, base))
    assert_close(turned, x @ shift_matrix(-position, d_head, base))


@layouts
def test_a_turn_is_a_complex_product(layout):
    x, positions = random(3, 5, 14).numpy(), np.array([4, 0, 9, 2, 2])
    inv_freq = rope_frequencies(14, 50.0)
    if layout == "half":
        numbers = x[..., :7] + 1j * x[..., 7:]
    else:
        numbers = x[..., 0::2] + 1j * x[..., 1::2]
    numbers = numbers * np.exp(1j * positions[:, None] * inv_freq)
    parts = numbers.real, numbers.imag
    if layout == "half":
        expected = np.concatenate(parts, axis=-1)
    else:
        expected = np.stack(parts, axis=-1).reshape(x.shape)
    np.testing.assert_allclose(apply_rope(x, positions, inv_freq, layout), expected)


@layouts
@few
@given(d_head=widths, base=bases, p=positions_, q=positions_, moved=positions_)
def test_a_score_depends_on_the_offset_alone(layout, d_head, base, p, q, moved):
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 1, d_head))
    inv_freq = rope_frequencies(d_head, base)

    def score(p, q):
        return float(
            apply_rope(query, np.array([p]), inv_freq, layout)[0]
            @ apply_rope(key, np.array([q]), inv_freq, layout)[0]
        )

    assert_close(score(p, q), score(p + moved, q + moved), rtol=1e-7, atol=1e-7)


@layouts
@few
@given(d_head=widths, p=positions_, q=positions_)
def test_two_turns_are_one_by_the_sum(layout, d_head, p, q):
    x, inv_freq = (
        np.random.default_rng(0).normal(size=(1, d_head)),
        rope_frequencies(d_head),
    )
    twice = apply_rope(x, np.array([p]), inv_freq, layout)
    twice = apply_rope(twice, np.array([q]), inv_freq, layout)
    assert_close(twice, apply_rope(x, np.array([p + q]), inv_freq, layout))


@layouts
def test_a_turn_keeps_the_length_and_position_0_keeps_everything(layout):
    x, positions = random(2, 3, 5, 14).numpy(), np.array([0, 3, 1, 400, 0])
    turned = apply_rope(x, positions, rope_frequencies(14), layout)
    norms = np.linalg.norm(x, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), norms)
    np.testing.assert_array_equal(turned[..., positions == 0, :], x[..., [0, 4], :])


@layouts
@pytest.mark.parametrize("before", [(), (2,), (2, 3), (2, 3, 4)])
def test_positions_of_one_row_serve_all_others(layout, before):
    x, positions = random(*before, 5, 14).numpy(), np.array([7, 0, 3, 3, 12])
    actual = apply_rope(x, positions, rope_frequencies(14), layout)
    flat = x.reshape(-1, 5, 14)
    one_by_one = [apply_rope(y, positions, rope_frequencies(14), layout) for y in flat]
    np.testing.assert_array_equal(actual, np.reshape(one_by_one, x.shape))


@layouts
@pytest.mark.parametrize("shape", [(2, 5, 14), (2, 3, 5, 14), (2, 3, 4, 5, 14)])
def test_positions_of_every_batch_row_serve_its_heads(layout, shape):
    x, positions = random(*shape).numpy(), ragged_positions(2, 5)
    actual = apply_rope(x, positions, rope_frequencies(14), layout)
    for row in range(2):
        alone = apply_rope(x[row], positions[row], rope_frequencies(14), layout)
        np.testing.assert_array_equal(actual[row], alone)


def test_the_layouts_are_one_but_for_the_order_of_dimensions():
    # The order is that in which Transformers permutes the weights of a GGUF file.
    processor = LlamaTensorProcessor()
    order = processor._reverse_permute_weights(np.arange(14)[:, None], 1)[:, 0]
    assert list(order) == [0, 2, 4, 6, 8, 10, 12, 1, 3, 5, 7, 9, 11, 13]
    x, positions = random(2, 3, 5, 14).numpy(), ragged_positions(2, 5)
    inv_freq = rope_frequencies(14)
    np.testing.assert_array_equal(
        apply_rope(x[..., order], positions, inv_freq, "half"),
        apply_rope(x, positions, inv_freq)[..., order],
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_turn_keeps_the_dtype_and_does_not_lose_far_positions(dtype):
    x = np.ones((1, 14), dtype)
    actual = apply_rope(x, np.array([2047]), rope_frequencies(14))
    exact = apply_rope(x.astype(float), np.array([2047]), rope_frequencies(14))
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, exact, atol=4 * np.finfo(dtype).eps)


def test_a_turn_does_not_modify_its_arguments():
    arguments = (
        random(2, 3, 5, 14).numpy(),
        ragged_positions(2, 5),
        rope_frequencies(14),
    )
    before = [array.copy() for array in arguments]
    apply_rope(*arguments)
    for array, copy in zip(arguments, before, strict=True):
        assert_exactly_equal(array, copy)


def test_another_layout_is_refused_by_its_name():
    with pytest.raises(ValueError, match="neox"):
        apply_rope(np.zeros((5, 14)), np.arange(5), rope_frequencies(14), "neox")


# Reaching farther


@few
@given(d_head=widths.filter(lambda n: n > 2), base=bases, factor=st.floats(1, 64))
def test_the_slowest_pair_is_slowed_by_the_factor_and_the_fastest_is_not(
    d_head, base, factor
):
    before = rope_frequencies(d_head, base)
    after = rope_frequencies(d_head, scaled_base(base, factor, d_head))
    assert after[0] == before[0] == 1
    assert_close(before[-1] / after[-1], factor)
    assert np.all(np.diff(before / after) >= -1e-12)


@pytest.mark.parametrize("times", [1, 2, 4, 8.5])
def test_scaled_base_is_that_of_dynamic_ntk_in_transformers(times):
    # There the factor grows with the text: for one 1000 times as long as in training,
    # and "factor" 1, it is how many times as long it is.
    config = LlamaConfig(
        head_dim=14,
        max_position_embeddings=1000,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 9000.0, "factor": 1.0},
    )
    expected, _ = ROPE_INIT_FUNCTIONS["dynamic"](
        config, device=torch.device("cpu"), seq_len=int(1000 * times)
    )
    actual = rope_frequencies(14, scaled_base(9000.0, times, 14))
    assert_close(torch.from_numpy(actual).float(), expected)


# What learners are told of mistakes that are in no list


GIVEN = {"np": np, "math": math, "alibi_slopes": alibi_slopes, "right": apply_rope}
BUCKETS = """
def relative_position_bucket(
    relative_position, bidirectional, num_buckets=32, max_distance=128
):
    n = num_buckets // 2 if bidirectional else num_buckets
    m = n // 2
    back = np.maximum(-relative_position, 0)
    distance = np.abs(relative_position) if bidirectional else back
    after = (relative_position > 0) * n if bidirectional else 0
    logs = np.log(np.maximum(distance, m) / m) / math.log(max_distance / m)
"""
BIAS = """
def alibi_bias(n_heads, q_len, k_len):
    slopes = alibi_slopes(n_heads)[:, None, None]
    query, key = np.arange(k_len - q_len, k_len)[:, None], np.arange(k_len)
"""
ROPE = """
def apply_rope(x, positions, inv_freq, layout="interleaved"):
    angles = positions[..., None] * inv_freq
    if positions.ndim == 2 and x.ndim == 4:
        angles = angles[:, None]
    cos, sin = np.cos(angles), np.sin(angles)
    half = x.shape[-1] // 2
"""
TELLING = {
    "a bucket is a float": (
        BUCKETS + "    far = np.minimum(m + logs * (n - m), n - 1)\n"
        "    return np.where(distance < m, distance, far) + after",
        "Your function gives back an array of float64; asked for is an array of int64",
    ),
    "stopped at the last bucket of both directions": (
        BUCKETS + "    far = np.minimum(m + (logs * (n - m)).astype(int), 2 * n)\n"
        "    return np.where(distance < m, distance, far) + after",
        "the 32 buckets are 0 to 31",
    ),
    "as many far buckets as near ones": (
        BUCKETS + "    far = np.minimum(m + (logs * m).astype(int), n - 1)\n"
        "    return np.where(distance < m, distance, far) + after",
        "Wrong for other numbers of buckets; right for a short text",
    ),
    "a distance, stopped": (
        "def relative_position_bucket(relative_position, bidirectional, "
        "num_buckets=32, max_distance=128):\n"
        "    return np.clip(-relative_position, 0, num_buckets - 1)",
        "Two things at once would explain it. `bidirectional` is not used",
    ),
    "an array asked for its truth": (
        "def relative_position_bucket(relative_position, bidirectional, "
        "num_buckets=32, max_distance=128):\n"
        "    return 0 if relative_position > 0 else -relative_position",
        "The truth value of an array",
    ),
    "the others in front": (
        """
        def alibi_slopes(n_heads):
            power = 2 ** int(math.log2(n_heads))
            slopes = 2.0 ** (-8 / power * np.arange(1, power + 1))
            more = 2.0 ** (-4 / power * np.arange(1, 2 * power, 2))
            return np.concatenate([more[: n_heads - power], slopes])
        """,
        "With 5 heads the first slope is 0.5; it should be 0.25. Wrong for no power",
    ),
    "the others from the gentle end": (
        """
        def alibi_slopes(n_heads):
            power = 2 ** int(math.log2(n_heads))
            slopes = 2.0 ** (-8 / power * np.arange(1, power + 1))
            more = 2.0 ** (-4 / power * np.arange(1, 2 * power, 2))
            return np.concatenate([slopes, more[::-1][: n_heads - power]])
        """,
        "that head is number 0 of those beyond 4",
    ),
    "powers of e": (
        """
        def alibi_slopes(n_heads):
            power = 2 ** int(math.log2(n_heads))
            slopes = np.exp(-8 / power * np.arange(1, power + 1))
            more = np.exp(-4 / power * np.arange(1, 2 * power, 2))
            return np.concatenate([slopes, more[: n_heads - power]])
        """,
        "With 16 heads the first slope is 0.6065; it should be 0.7071",
    ),
    "an int to a negative power": (
        "def alibi_slopes(n_heads): return 2 ** -np.arange(1, n_heads + 1)",
        "Write 2.0 in place of 2",
    ),
    "the power of 2 by rounding": (
        """
        def alibi_slopes(n_heads):
            power = 2 ** round(math.log2(n_heads))
            slopes = 2.0 ** (-8 / power * np.arange(1, power + 1))
            more = 2.0 ** (-4 / power * np.arange(1, 2 * power, 2))
            return np.append(slopes, more[: max(n_heads - power, 0)])[:n_heads]
        """,
        "Wrong for one head less than a power of 2; right for a power of 2",
    ),
    "one slope for all heads": (
        BIAS + "    return -slopes[:1] * np.abs(query - key) + 0 * slopes",
        "Every head has the values of head 0. Head 1 of 8 falls by 0.5 per position; "
        "its slope is 0.25",
    ),
    "the first positions, and raised": (
        BIAS + "    return slopes * np.abs(query - k_len + q_len - key)",
        "Two things at once would explain it. The sign is missing",
    ),
    "logarithms of distances": (
        BIAS + "    return -slopes * np.log1p(np.abs(query - key))",
        "that query stands at position 2, that key at position 0",
    ),
    "divided by a root": (
        BIAS + "    return -slopes * np.abs(query - key) / math.sqrt(k_len)",
        "The answer is the right one times 1 / the square root of k_len",
    ),
    "slopes of its own": (
        """
        def alibi_bias(n_heads, q_len, k_len):
            slopes = 2.0 ** (-8 / n_heads * np.arange(1, n_heads + 1))
            query, key = np.arange(k_len - q_len, k_len)[:, None], np.arange(k_len)
            return -slopes[:, None, None] * np.abs(query - key)
        """,
        "Head 0 of 5 falls by 0.3299 per position; its slope is 0.25",
    ),
    "divided twice": (
        "def rope_frequencies(d_head, base=10000.0):\n"
        "    return base ** -np.arange(0, d_head, 2) / d_head",
        "At pair 0 your function gives 0.0833333, not 1",
    ),
    "degrees": (
        "def rope_frequencies(d_head, base=10000.0):\n"
        "    return np.degrees(base ** (-np.arange(0, d_head, 2) / d_head))",
        "The answer is the right one times 180 / pi",
    ),
    "the base by heart": (
        "def rope_frequencies(d_head, base=10000.0):\n"
        "    return 10000 ** (-np.arange(0, d_head, 2) / d_head)",
        "`base` is not used: the answer is always that for 10000",
    ),
    "doubled, and the base by heart": (
        "def rope_frequencies(d_head, base=10000.0):\n"
        "    return 10000 ** (-2 * np.arange(0, d_head, 2) / d_head)",
        "Two things at once would explain it. The exponent is doubled",
    ),
    "the halves turned the other way": (
        ROPE + "    answer = np.empty_like(x)\n"
        "    if layout == 'half':\n"
        "        a, b = x[..., :half], x[..., half:]\n"
        "        answer[..., :half] = a * cos + b * sin\n"
        "        answer[..., half:] = b * cos - a * sin\n"
        "        return answer\n"
        "    return right(x, positions, inv_freq)",
        "is turned by 2.904; its angle is 5 x 0.6758 = 3.379, or -2.904. Wrong for the "
        "half layout",
    ),
    "arguments of its caller turned": (
        ROPE + "    if layout == 'half':\n"
        "        a, b = x[..., :half], x[..., half:]\n"
        "    else:\n"
        "        a, b = x[..., 0::2], x[..., 1::2]\n"
        "    a[:], b[:] = a * cos - b * sin, a * sin + b * cos\n"
        "    return x",
        "Your function changes `x`, which belongs to its caller",
    ),
    "added like a table": (
        ROPE + "    return x + np.concatenate([sin, cos], axis=-1)",
        "had the length 0.06442 and now has 0.0635: a turn keeps it",
    ),
    "counted from the first one": (
        "def apply_rope(x, positions, inv_freq, layout='interleaved'):\n"
        "    return right(x, positions - positions.min(), inv_freq, layout)",
        "is turned by 0; its angle is 4 x 0.7832 = 3.133",
    ),
    "backwards, and the other layout": (
        "def apply_rope(x, positions, inv_freq, layout='interleaved'):\n"
        "    other = 'half' if layout == 'interleaved' else 'interleaved'\n"
        "    return right(x, -positions, inv_freq, other)",
        "explain it. The two layouts have changed places. And: everything turns",
    ),
    "not for several rows": (
        ROPE.replace("if positions.ndim == 2 and x.ndim == 4:", "if False:")
        + "    a, b = x[..., 0::2], x[..., 1::2]\n"
        "    turned = np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1)\n"
        "    return turned.reshape(x.shape)",
        "`layout` is not used: neighbours are always paired. And: batch rows and heads "
        "are mixed up",
    ),
    "torch's chunk": (
        "def apply_rope(x, positions, inv_freq, layout='interleaved'):\n"
        "    a, b = x.chunk(2, dim=-1)\n"
        "    return a",
        "That is a method of PyTorch's tensors",
    ),
    "the factor squared": (
        "def scaled_base(base, factor, d_head): return base * factor**2",
        "the slowest of 32 pairs turns 14.67 times more slowly; it should be 4 times",
    ),
    "a division that rounds": (
        "def scaled_base(base, factor, d_head):\n"
        "    return base * factor ** (d_head // (d_head - 2))",
        "the slowest of 32 pairs turns 3.83 times more slowly; it should be 4 times",
    ),
    "base and factor swapped": (
        "def scaled_base(base, factor, d_head):\n"
        "    return factor * base ** (d_head / (d_head - 2))",
        "`base` and `factor` have changed places",
    ),
    "a whole number": (
        "def scaled_base(base, factor, d_head):\n"
        "    return int(base * factor ** (d_head / (d_head - 2)))",
        "The numbers have lost everything after the decimal point",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told("\n" + source, **GIVEN), sentence)


def test_wrong_slopes_cost_the_bias_nothing():
    verdict = told(
        "def alibi_slopes(n_heads):\n"
        "    return 2.0 ** (-8 / n_heads * np.arange(n_heads))\n"
        + BIAS
        + "    return -slopes * np.abs(query - key)",
        math=math,
    )
    assert verdict.points == verdict.max_points
    assert verdict.first == ("alibi_slopes",)


def test_checking_is_quick_even_where_nothing_explains_the_answer():
    source = """
    def apply_rope(x, positions, inv_freq, layout="interleaved"):
        return np.random.default_rng(0).normal(size=x.shape).astype(x.dtype)
    """
    assert_quick(source, **GIVEN)
