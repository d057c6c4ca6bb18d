"""Masks as rules against FlexAttention, Transformers, loops and what they promise."""

import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from telling import assert_quick, assert_told, told
from torch.nn.attention.flex_attention import (
    create_block_mask,
    create_mask,
    flex_attention,
)
from torch.testing import assert_close
from transformers import DataCollatorWithFlattening, LlamaConfig
from transformers.masking_utils import (
    create_causal_mask,
    create_sliding_window_causal_mask,
    find_packed_sequence_indices,
    sdpa_mask,
    sliding_window_causal_mask_function,
)

from autograder import specs
from solutions import attention, mask_zoo, masks
from solutions.attention import scaled_dot_product_attention
from solutions.mask_zoo import (
    document,
    live_blocks,
    materialise,
    packed_positions,
    prefix_lm,
    sliding_window,
    windowed_attention,
)
from solutions.masks import causal_mask

few = settings(derandomize=True, max_examples=30, deadline=None)
sizes = st.integers(1, 9)
both_widths = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
# Documents of different lengths, their numbers in no order.
IDS = np.repeat([7, 2, 9, 0], [3, 4, 1, 5])
packings = st.lists(sizes, min_size=1, max_size=4)


def ids_of(lengths, seed=0):
    numbers = np.random.default_rng(seed).permutation(len(lengths))
    return np.repeat(numbers, lengths)


def assert_same(actual, expected):
    """Also the same shape and dtype."""
    np.testing.assert_array_equal(actual, np.asarray(expected), strict=True)


def square(mask_fn, length):
    return materialise(mask_fn, length, length)


def in_transformers(length, make=create_causal_mask, **given):
    """The mask that a model of Transformers makes for one sequence."""
    config = LlamaConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    config._attn_implementation = "sdpa"
    config.sliding_window = given.pop("window", None)
    embeds = torch.zeros(1, length, 8)
    return make(config, embeds, None, None, allow_is_causal_skip=False, **given)[0, 0]


def in_flex(mask_fn, q_len, k_len):
    """What FlexAttention makes of a rule; there the queries are the first positions."""

    def mask_mod(b, h, q_idx, kv_idx):
        return mask_fn(q_idx + (k_len - q_len), kv_idx)

    return create_mask(mask_mod, 1, 1, q_len, k_len, device="cpu")[0, 0]


def random(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


# The rules


@few
@given(length=sizes, prefix_len=st.integers(0, 10))
def test_prefix_lm_is_the_mask_of_transformers_for_a_block_at_the_beginning(
    length, prefix_len
):
    group = torch.where(torch.arange(length) < prefix_len, 0, -1)[None]
    expected = in_transformers(length, block_sequence_ids=group)
    assert_same(square(prefix_lm(prefix_len), length), expected)


@few
@given(length=sizes, prefix_len=st.integers(0, 10))
def test_prefix_lm_is_the_slow_loop(length, prefix_len):
    expected = np.zeros((length, length), dtype=bool)
    for q in range(length):
        for k in range(length):
            both_in_prefix = q < prefix_len and k < prefix_len
            expected[q, k] = both_in_prefix or k <= q
    assert_same(square(prefix_lm(prefix_len), length), expected)


def test_a_prefix_of_at_most_one_position_is_causal_and_a_full_one_sees_everything():
    for prefix_len in (0, 1):
        assert_same(square(prefix_lm(prefix_len), 6), causal_mask(6, 6))
    assert square(prefix_lm(6), 6).all()


@few
@given(length=sizes, window=st.integers(1, 11))
def test_sliding_window_is_the_mask_of_transformers(length, window):
    ours = square(sliding_window(window), length)
    model = in_transformers(
        length, create_sliding_window_causal_mask, window=window
    )  # Transformers calls it sliding_window in a model's configuration
    assert_same(ours, model)
    by_hand = sdpa_mask(
        1,
        q_length=length,
        kv_length=length,
        mask_function=sliding_window_causal_mask_function(window),
        allow_is_causal_skip=False,
    )
    assert_same(ours, by_hand[0, 0])


@few
@given(length=sizes, window=st.integers(1, 11))
def test_a_window_of_w_shows_each_position_w_others_with_itself(length, window):
    attn_mask = square(sliding_window(window), length)
    np.testing.assert_array_equal(
        attn_mask.sum(axis=1), np.minimum(window, np.arange(length) + 1)
    )
    assert attn_mask.diagonal().all()


def test_a_window_is_a_band_of_diagonals():
    assert_same(
        square(sliding_window(3), 7),
        np.tril(np.ones((7, 7), bool)) & np.triu(np.ones((7, 7), bool), k=-2),
    )


@few
@given(lengths=packings)
def test_document_is_the_mask_of_transformers_for_packed_sequences(lengths):
    ids = ids_of(lengths)
    restarted = torch.from_numpy(packed_positions(ids))[None]
    expected = in_transformers(len(ids), position_ids=restarted)
    assert_same(square(document(ids), len(ids)), expected)


@few
@given(lengths=packings)
def test_document_is_one_causal_triangle_for_each(lengths):
    ids = ids_of(lengths)
    expected = torch.block_diag(*(torch.ones(n, n).tril() for n in lengths))
    assert_same(square(document(ids), len(ids)), expected.bool())


@pytest.mark.parametrize("rule", [prefix_lm(4), sliding_window(3), document(IDS)])
def test_a_rule_answers_for_all_pairs_as_it_answers_for_each(rule):
    length = len(IDS)
    for q, k in np.ndindex(length, length):
        assert bool(rule(np.array(q), np.array(k))) == square(rule, length)[q, k]
    q, k = np.random.default_rng(0).integers(length, size=(2, 3, 5))
    assert_same(rule(q, k), square(rule, length)[q, k])
    assert_same(
        rule(np.arange(5), np.arange(7)[:, None]), square(rule, length)[:5, :7].T
    )


# Rules become arrays


@few
@given(q_len=sizes, past_len=st.integers(0, 6), window=st.integers(1, 8))
def test_materialise_is_flex_attentions_create_mask(q_len, past_len, window):
    k_len = past_len + q_len
    for rule in (sliding_window(window), prefix_lm(window)):
        expected = in_flex(rule, q_len, k_len)
        assert_same(materialise(rule, q_len, k_len), expected)


@few
@given(q_len=sizes, past_len=st.integers(0, 6), window=st.integers(1, 8))
def test_materialise_is_the_sdpa_mask_of_transformers(q_len, past_len, window):
    expected = sdpa_mask(
        1,
        q_length=q_len,
        kv_length=past_len + q_len,
        q_offset=past_len,
        mask_function=sliding_window_causal_mask_function(window),
        allow_is_causal_skip=False,
    )
    actual = materialise(sliding_window(window), q_len, past_len + q_len)
    assert_same(actual, expected[0, 0])


@few
@given(q_len=sizes, past_len=st.integers(0, 6))
def test_the_causal_rule_becomes_the_causal_mask(q_len, past_len):
    k_len = past_len + q_len
    actual = materialise(lambda q, k: k <= q, q_len, k_len)
    assert_same(actual, causal_mask(q_len, k_len))


def test_queries_after_a_cache_have_the_last_rows():
    rule = document(IDS)
    whole = square(rule, len(IDS))
    for q_len in (1, 4):
        assert_same(materialise(rule, q_len, len(IDS)), whole[-q_len:])


def test_a_rule_about_one_position_only_becomes_a_whole_array_of_its_own():
    attn_mask = materialise(lambda q, k: k < 2, 3, 5)
    assert_same(attn_mask, np.arange(5) < np.full((3, 1), 2))
    attn_mask[0] = False  # not a view, in which all rows were one
    assert attn_mask[1].any()
    assert_same(materialise(lambda q, k: q > 3, 3, 5).sum(axis=1), np.array([0, 0, 5]))


# Blocks


@few
@given(
    q_len=st.integers(1, 40),
    k_len=st.integers(1, 40),
    block=st.sampled_from([2, 4, 16]),
)
def test_live_blocks_are_those_of_flex_attention(q_len, k_len, block):
    rng = np.random.default_rng(q_len * k_len)
    attn_mask = torch.from_numpy(rng.random((q_len, k_len)) < 0.05)
    blocks = create_block_mask(
        lambda b, h, q_idx, kv_idx: attn_mask[q_idx, kv_idx],
        1, 1, q_len, k_len, device="cpu", BLOCK_SIZE=block,
    )  # fmt: skip
    expected = blocks.to_dense()[0, 0].bool()
    assert_same(live_blocks(attn_mask.numpy(), block), expected)


@few
@given(q_len=sizes, k_len=sizes, block=st.integers(1, 11))
def test_live_blocks_are_the_slow_loop(q_len, k_len, block):
    attn_mask = np.random.default_rng(q_len).random((q_len, k_len)) < 0.2
    rows, columns = -(-q_len // block), -(-k_len // block)
    expected = np.zeros((rows, columns), dtype=bool)
    for q, k in np.argwhere(attn_mask):
        expected[q // block, k // block] = True
    assert_same(live_blocks(attn_mask, block), expected)


@few
@given(block=sizes, rows=sizes)
def test_of_a_causal_mask_the_blocks_on_and_below_the_diagonal_are_live(block, rows):
    attn_mask = causal_mask(rows * block, rows * block)
    assert live_blocks(attn_mask, block).sum() == rows * (rows + 1) // 2


# Packed positions


@few
@given(lengths=packings)
def test_packed_positions_are_those_of_transformers_collator(lengths):
    batch = [{"input_ids": [1] * n} for n in lengths]
    expected = DataCollatorWithFlattening(return_tensors="pt")(batch)["position_ids"][0]
    assert_same(packed_positions(ids_of(lengths)), expected)


@few
@given(lengths=packings.filter(lambda lengths: len(lengths) > 1))
def test_transformers_finds_the_documents_again_where_the_positions_restart(lengths):
    restarted = torch.from_numpy(packed_positions(ids_of(lengths)))[None]
    found = find_packed_sequence_indices(restarted)
    expected = np.repeat(np.arange(len(lengths)), lengths)
    assert_same(found[0], expected)


@few
@given(lengths=packings)
def test_packed_positions_are_one_range_for_each_document(lengths):
    expected = np.concatenate([np.arange(n) for n in lengths])
    assert_same(packed_positions(ids_of(lengths)), expected)


# Attention through a window


def our_window(query, key, value, window):
    arrays = (array.numpy() for array in (query, key, value))
    return torch.from_numpy(windowed_attention(*arrays, window))


@both_widths
@pytest.mark.parametrize("window", [1, 3, 4, 6, 12, 13, 50])
def test_windowed_attention_is_torchs_under_the_mask_of_the_window(window, dtype):
    shapes = (2, 3, 13, 5), (2, 3, 13, 5), (2, 3, 13, 7)
    arrays = [random(*s, dtype=dtype, seed=i) for i, s in enumerate(shapes)]
    attn_mask = torch.from_numpy(square(sliding_window(window), 13))
    expected = F.scaled_dot_product_attention(*arrays, attn_mask=attn_mask)
    assert_close(our_window(*arrays, window), expected)


def test_windowed_attention_is_flex_attention():
    arrays = [random(1, 2, 70, 16, dtype=torch.float32, seed=i) for i in range(3)]
    rule = sliding_window(9)
    blocks = create_block_mask(
        lambda b, h, q_idx, kv_idx: rule(q_idx, kv_idx), 1, 1, 70, 70, device="cpu"
    )
    with warnings.catch_warnings():  # that it is not compiled
        warnings.simplefilter("ignore")
        expected = flex_attention(*arrays, block_mask=blocks)
    assert isinstance(expected, torch.Tensor)
    assert_close(our_window(*arrays, 9), expected)


@few
@given(length=st.integers(1, 20), window=st.integers(1, 22))
def test_windowed_attention_is_the_slow_loop(length, window):
    query, key = random(2, length, 3).numpy(), random(2, length, 3, seed=1).numpy()
    value = random(2, length, 4, seed=2).numpy()
    expected = np.zeros((2, length, 4))
    for row, q in np.ndindex(2, length):
        keys = range(max(0, q - window + 1), q + 1)
        scores = np.array([query[row, q] @ key[row, k] / np.sqrt(3) for k in keys])
        weights = np.exp(scores) / np.exp(scores).sum()
        expected[row, q] = sum(
            w * value[row, k] for w, k in zip(weights, keys, strict=True)
        )
    np.testing.assert_allclose(windowed_attention(query, key, value, window), expected)


def test_windowed_attention_needs_memory_for_the_window_and_not_for_all_pairs():
    def peak(length, window):
        arrays = random(3, 1, length, 8).numpy()
        tracemalloc.start()
        windowed_attention(*arrays, window)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # twice the length takes twice the memory, not four times
    assert peak(4096, 16) < 2.2 * peak(2048, 16) < 2.2 * 2048**2 / 4


@few
@given(moved=st.integers(0, 16), window=st.integers(1, 8))
def test_only_the_window_behind_a_token_feels_it(moved, window):
    query, key, value = random(3, 17, 4).numpy()
    before = windowed_attention(query, key, value, window)
    key[moved], value[moved] = 9, 9
    after = windowed_attention(query, key, value, window)
    differs = (before != after).any(axis=1)
    expected = (np.arange(17) >= moved) & (np.arange(17) < moved + window)
    assert_same(differs, expected)


def test_two_layers_of_windows_reach_twice_as_far_but_for_one():
    reach = square(sliding_window(4), 20).astype(int)
    twice = reach @ reach > 0
    assert_same(twice, square(sliding_window(7), 20))


def test_a_packed_document_gets_what_it_would_get_alone():
    query, key, value = random(3, 2, len(IDS), 5).numpy()
    packed = scaled_dot_product_attention(
        query, key, value, square(document(IDS), len(IDS))
    )
    for number in np.unique(IDS):
        own = np.flatnonzero(number == IDS)
        alone = scaled_dot_product_attention(
            query[:, own], key[:, own], value[:, own], causal_mask(len(own), len(own))
        )
        np.testing.assert_allclose(packed[:, own], alone)


def test_positions_that_restart_do_not_keep_documents_apart():
    """The rule by restarted positions differs from that of the documents."""
    restarted = packed_positions(IDS)

    def by_positions(q, k):
        return restarted[k] <= restarted[q]

    leaks = square(by_positions, len(IDS)) & ~square(document(IDS), len(IDS))
    assert leaks.any()


# What all of them promise


def test_the_arguments_are_not_modified():
    ids, attn_mask = IDS.copy(), square(document(IDS), len(IDS))
    arrays = list(random(3, 2, 9, 4).numpy())
    before = [array.copy() for array in (ids, attn_mask, *arrays)]
    square(document(ids), len(ids))
    packed_positions(ids)
    live_blocks(attn_mask, 4)
    windowed_attention(*arrays, 3)
    for array, copy in zip((ids, attn_mask, *arrays), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_every_mask_is_bool_and_attention_has_the_dtype_of_its_inputs():
    for rule in (prefix_lm(3), sliding_window(3), document(IDS)):
        attn_mask = square(rule, len(IDS))
        assert attn_mask.dtype == live_blocks(attn_mask, 4).dtype == bool
    for dtype in (np.float32, np.float64):
        arrays = random(3, 9, 4).numpy().astype(dtype)
        assert windowed_attention(*arrays, 4).dtype == dtype


# What the probes tell apart, and what learners are told of mistakes that are in no list

# What the notebook of the chapter has given, and right answers to its own exercises
GIVEN: dict[str, Any] = {**vars(attention), **vars(masks), **vars(mask_zoo)}


def named(source):
    """The mistake that is named, and how; each right answer lies close by."""
    verdict = told(source, **GIVEN)
    assert verdict.points == 0
    assert verdict.way == "name", verdict.message
    return verdict.mistake


def test_the_probes_tell_a_window_of_w_from_w_plus_one():
    start = "def sliding_window(window): return lambda q, k: (k <= q) & "
    assert told(f"{start}(q - k < window)").points == 2
    assert "one too wide" in named(f"{start}(q - k <= window)")
    assert "one too narrow" in named(f"{start}(q - k < window - 1)")
    start = "def windowed_attention(query, key, value, window): "
    start += "return whole(query, key, value, window"
    [exercise] = [
        e for e in specs.exercises_of("mask_zoo") if e.name == "windowed_attention"
    ]
    GIVEN["whole"] = exercise.family_function
    assert told(f"{start})", **GIVEN).points == 3
    rule = "sees=lambda q, k, w: (k <= q) & (q - k"
    assert "one too wide" in named(f"{start}, {rule} <= w))")
    assert "one too narrow" in named(f"{start}, {rule} < w - 1))")


def test_the_probes_tell_the_top_left_corner_from_the_bottom_right_one():
    source = """
    def materialise(mask_fn, q_len, k_len):
        q, k = np.meshgrid(np.arange({}), np.arange(k_len), indexing="ij")
        return mask_fn(q, k)
    """
    assert told(source.format("k_len - q_len, k_len")).points == 2
    assert "top left" in named(source.format("q_len"))


def test_the_probes_tell_restarted_positions_from_documents_kept_apart():
    start = (
        "def document(ids):\n    p = packed_positions(ids)\n    return lambda q, k: "
    )
    start = f"\n{start}"
    right = told(f"{start}(k <= q) & (k >= q - p[q])", **GIVEN)
    assert right.points == 2
    assert "are not kept apart: the rule is the causal" in named(f"{start}(k <= q)")
    assert "not kept apart: seen is what" in named(f"{start}p[k] <= p[q]")
    assert "earlier documents are seen" in named(f"{start}(k <= q) & (p[k] <= p[q])")


ATTEND = """
def windowed_attention(query, key, value, window):
    seq_len = query.shape[-2]
    answer = np.zeros(query.shape[:-1] + value.shape[-1:])
"""
IN_CHUNKS = (
    ATTEND
    + """
    for start in range(0, seq_len, window):
        end = min(start + window, seq_len)
        first = max(start - window + 1, 0)
"""
)
TELLING = {
    "the count of memory is ended": (
        """
        import tracemalloc
        def windowed_attention(query, key, value, window):
            tracemalloc.stop()
            return query
        """,
        "memory is counted",
    ),
    "FlexAttention's arguments": (
        """
        def prefix_lm(prefix_len):
            return lambda b, h, q, k: (k <= q) | (k < prefix_len)
        """,
        "cannot be called with 2 arguments",
    ),
    "an array, not a rule": (
        "def prefix_lm(prefix_len): return np.tri(8, dtype=bool)",
        "what it gives back, of type ndarray, cannot be called",
    ),
    "two at once": (
        """
        def prefix_lm(prefix_len):
            return lambda q, k: (k < q) | (k <= prefix_len)
        """,
        "The prefix is one position too long. And: a query behind the prefix does not "
        "see itself",
    ),
    "places in the array for positions": (
        """
        def prefix_lm(prefix_len):
            def may_attend(q, k):
                attn_mask = np.tri(q.size, k.size, dtype=bool)
                attn_mask[:, :prefix_len] = True
                return attn_mask
            return may_attend
        """,
        "there the query is at position 5, the key at 5, which is its own. Wrong for "
        "queries that come after a cache",
    ),
    "and": (
        "def sliding_window(window): return lambda q, k: k <= q and q - k < window",
        "The truth value of an array",
    ),
    "no brackets": (
        "def sliding_window(window): return lambda q, k: k <= q & q - k < window",
        "put comparisons in brackets",
    ),
    "the first position stays in sight": (
        """
        def sliding_window(window):
            return lambda q, k: (k <= q) & ((q - k < window) | (k == 0))
        """,
        "Position 8 sees 5 positions; with a window of 4 it should see 4",
    ),
    "a distance that is never negative": (
        "def sliding_window(window): return lambda q, k: abs(q - k) <= window",
        "The window is one too wide: each position sees itself and `window` before it. "
        "And: the window goes to both sides",
    ),
    "two too many": (
        """
        def sliding_window(window):
            return lambda q, k: (k <= q) & (q - k <= window + 1)
        """,
        "Position 8 sees 6 positions",
    ),
    "all documents, whoever asks": (
        """
        def document(document_ids):
            same = document_ids[:, None] == document_ids
            return lambda q, k: (k <= q) & same
        """,
        "right for every query and every key",
    ),
    "the keys' documents are not looked up": (
        """
        def document(document_ids):
            return lambda q, k: (k <= q) & (document_ids[q] == document_ids)
        """,
        "Wrong for pairs of positions in no order and queries along the columns",
    ),
    "the document before the key": (
        """
        def document(document_ids):
            return lambda q, k: (k <= q) & (document_ids[q] == document_ids[k - 1])
        """,
        "right for a single document",
    ),
    "round brackets": (
        """
        def document(document_ids):
            return lambda q, k: (k <= q) & (document_ids(q) == document_ids(k))
        """,
        "Square brackets pick from an array",
    ),
    "the first rows of the square": (
        """
        def materialise(mask_fn, q_len, k_len):
            return mask_fn(np.arange(k_len)[:, None], np.arange(k_len))[:q_len]
        """,
        "Row 0 is what the rule says of a query at position 0; of 5 queries and 11 "
        "keys, it stands for position 6",
    ),
    "floats": (
        """
        def materialise(mask_fn, q_len, k_len):
            return np.fromfunction(
                lambda i, k: mask_fn(i + k_len - q_len, k), (q_len, k_len)
            )
        """,
        "do if they are told dtype=int",
    ),
    "the last query first": (
        """
        def materialise(mask_fn, q_len, k_len):
            q = np.arange(k_len)[::-1][:q_len, None]
            return mask_fn(q, np.arange(k_len)) & np.ones((q_len, k_len), bool)
        """,
        "The query axis runs backwards",
    ),
    "as many keys as queries": (
        """
        def materialise(mask_fn, q_len, k_len):
            past_len = k_len - q_len
            return mask_fn(np.arange(q_len)[:, None], np.arange(past_len, k_len))
        """,
        "The shape of your answer is (5, 5); asked for is (5, 11)",
    ),
    "one block more": (
        """
        def live_blocks(attn_mask, block):
            q_len, k_len = attn_mask.shape
            rest = (0, block - q_len % block), (0, block - k_len % block)
            padded = np.pad(attn_mask, rest)
            rows, columns = padded.shape[0] // block, padded.shape[1] // block
            return padded.reshape(rows, block, columns, block).any(axis=(1, 3))
        """,
        "The shape of your answer is (5, 6); asked for is (4, 5). Wrong for blocks "
        "that fit",
    ),
    "nothing is filled up": (
        """
        def live_blocks(attn_mask, block):
            rows, columns = attn_mask.shape[0] // block, attn_mask.shape[1] // block
            return attn_mask.reshape(rows, block, columns, block).any(axis=(1, 3))
        """,
        "right for blocks that fit",
    ),
    "every row of a block": (
        """
        def live_blocks(attn_mask, block):
            rows, columns = (-(-n // block) for n in attn_mask.shape)
            answer = np.zeros((rows, columns), dtype=bool)
            for i in range(rows):
                for j in range(columns):
                    part = attn_mask[i * block :, j * block :][:block, :block]
                    answer[i, j] = part.any(axis=1).all()
            return answer
        """,
        "of the 9 pairs in that block, 1 may attend",
    ),
    "a count": (
        """
        def live_blocks(attn_mask, block):
            rows = np.add.reduceat(attn_mask * 1, np.arange(0, len(attn_mask), block))
            return np.add.reduceat(rows, np.arange(0, rows.shape[1], block), axis=1)
        """,
        "a mask is an array of bool",
    ),
    "the first document only": (
        """
        def packed_positions(document_ids):
            index = np.arange(len(document_ids))
            first = (document_ids == document_ids[0]).sum()
            return np.where(index < first, index, index - first)
        """,
        "begins at 7; 4 of 11 numbers are off. Wrong for several documents",
    ),
    "the index -1": (
        """
        def packed_positions(document_ids):
            counted = np.zeros(len(document_ids), dtype=int)
            for i, number in enumerate(document_ids):
                if document_ids[i - 1] == number:
                    counted[i] = counted[i - 1] + 1
            return counted
        """,
        "Wrong for a single document",
    ),
    "one difference is missing": (
        """
        def packed_positions(document_ids):
            index = np.arange(len(document_ids))
            return index - np.maximum.accumulate(
                np.where(np.diff(document_ids) != 0, index, 0)
            )
        """,
        "NumPy lines shapes up from the right",
    ),
    "how many there are": (
        """
        def packed_positions(document_ids):
            return (document_ids[:, None] == document_ids).sum(axis=1) - 1
        """,
        "At position 0 your function gives 4, not 0; the document there, ",
    ),
    "all pairs": (
        """
        def windowed_attention(query, key, value, window):
            seq_len = query.shape[-2]
            attn_mask = materialise(sliding_window(window), seq_len, seq_len)
            return scaled_dot_product_attention(query, key, value, attn_mask)
        """,
        "bytes at once for 1,645 positions; the limit of this call is 2,706,025. Wrong "
        "for a long sequence; right for an answer that is the weights",
    ),
    "a mask of all pairs, and chunks of it": (
        IN_CHUNKS.replace(
            "    for start",
            "    attn_mask = materialise(sliding_window(window), seq_len, seq_len)\n"
            "    for start",
        )
        + """
        answer[..., start:end, :] = scaled_dot_product_attention(
            query[..., start:end, :], key[..., first:end, :], value[..., first:end, :],
            attn_mask[start:end, first:end],
        )
    return answer
""",
        "Wrong for a long sequence",
    ),
    "chunks without a mask": (
        IN_CHUNKS
        + """
        answer[..., start:end, :] = scaled_dot_product_attention(
            query[..., start:end, :], key[..., first:end, :], value[..., first:end, :]
        )
    return answer
""",
        "Batch row 0, head 0, query 0 sees key 1, in its future",
    ),
    "places in the chunk for positions": (
        IN_CHUNKS
        + """
        q, k = np.arange(end - start)[:, None], np.arange(end - first)
        answer[..., start:end, :] = scaled_dot_product_attention(
            query[..., start:end, :], key[..., first:end, :], value[..., first:end, :],
            sliding_window(window)(q, k),
        )
    return answer
""",
        "query 5 sees key 1; its window of 4 begins at 2",
    ),
    "a softmax over the queries": (
        IN_CHUNKS
        + """
        q, k = np.arange(start, end)[:, None], np.arange(first, end)
        scores = attention_scores(query[..., start:end, :], key[..., first:end, :])
        scores = np.where(sliding_window(window)(q, k), scores, -np.inf)
        weights = softmax(scores, axis=-2)
        answer[..., start:end, :] = weights @ value[..., first:end, :]
    return answer
""",
        "query 0 sum to 0.6185, not to 1",
    ),
    "a negative index": (
        ATTEND
        + """
    for t in range(seq_len):
        near = slice(t - window + 1, t + 1)
        answer[..., t : t + 1, :] = scaled_dot_product_attention(
            query[..., t : t + 1, :], key[..., near, :], value[..., near, :]
        )
    return answer
""",
        "right for a window of 1",
    ),
    "torch": (
        """
        import torch
        import torch.nn.functional as F
        def windowed_attention(query, key, value, window):
            return F.scaled_dot_product_attention(query, key, value)
        """,
        "Write it without `scipy` and `torch`",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source, **GIVEN), sentence)


@pytest.mark.parametrize("case", ["all pairs", "chunks without a mask"])
def test_checking_is_quick_even_where_sequences_are_long(case):
    assert_quick(TELLING[case][0], **GIVEN)
