"""Cross-attention against PyTorch, Transformers, slow loops and what it promises."""

import inspect
from textwrap import indent

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from telling import assert_told
from torch import nn
from torch.testing import assert_close
from transformers import (
    BartConfig,
    BartModel,
    T5Config,
    T5ForConditionalGeneration,
    T5Model,
)
from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

from autograder.live import verdict_on
from solutions.cross_attention import (
    cross_attention_weights,
    decoder_attention,
    seq2seq_masks,
)

few = settings(derandomize=True, max_examples=30, deadline=None)
ids = st.integers(0, 4)

PAD = 3
# Padding on the right, on the left, in the middle and nowhere; id 0 is a real token.
SOURCE = np.array([[1, 4, 0, 2, 3, 3], [3, 3, 0, 1, 4, 2], [2, 3, 1, 3, 0, 4]])
# Starts with a token of its own, with the id of padding, and with id 0.
TARGET = np.array([[2, 4, 0, 3, 3], [3, 1, 4, 4, 3], [0, 1, 2, 1, 4]])
KINDS = [torch.float32, torch.float64]


@st.composite
def sentence_pairs(draw):
    """A source and a target of any two lengths, in which any id may stand anywhere."""
    rows = draw(st.integers(1, 4))
    source = arrays(np.int64, (rows, draw(st.integers(1, 8))), elements=ids)
    target = arrays(np.int64, (rows, draw(st.integers(1, 8))), elements=ids)
    return draw(source), draw(target)


def assert_same_mask(actual, expected):
    """Also the same shape, and both bool."""
    np.testing.assert_array_equal(actual, np.asarray(expected), strict=True)


def random(*shape, kind=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=kind)


def as_torch(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def projections(attention):
    """The four matrices of an nn.MultiheadAttention, to multiply from the right."""
    w_q, w_k, w_v = attention.in_proj_weight.detach().chunk(3)
    w_o = attention.out_proj.weight.detach()
    return tuple(w.T.numpy() for w in (w_q, w_k, w_v, w_o))


# The masks


@few
@given(pair=sentence_pairs(), pad_id=ids)
def test_seq2seq_masks_are_the_slow_loop(pair, pad_id):
    source, target = pair
    (rows, source_len), target_len = source.shape, target.shape[1]
    source_mask = np.zeros((rows, 1, 1, source_len), dtype=bool)
    target_mask = np.zeros((rows, 1, target_len, target_len), dtype=bool)
    for row in range(rows):
        for key in range(source_len):
            source_mask[row, 0, 0, key] = source[row, key] != pad_id
        for query in range(target_len):
            for key in range(query + 1):
                real = key == 0 or target[row, key] != pad_id
                target_mask[row, 0, query, key] = real
    expected = source_mask, target_mask, source_mask
    for actual, wanted in zip(
        seq2seq_masks(source, target, pad_id), expected, strict=True
    ):
        assert_same_mask(actual, wanted)


@few
@given(pair=sentence_pairs(), pad_id=ids)
def test_they_are_the_masks_that_transformers_makes(pair, pad_id):
    source, target = pair
    (rows, source_len), target_len = source.shape, target.shape[1]
    real_target = target != pad_id
    real_target[:, 0] = True
    source_mask, target_mask, memory_mask = seq2seq_masks(source, target, pad_id)

    def theirs(real, queries, **how):
        return sdpa_mask(
            batch_size=rows,
            q_length=queries,
            kv_length=real.shape[1],
            attention_mask=torch.from_numpy(real),
            allow_is_causal_skip=False,
            **how,
        )

    both_ways = {"mask_function": bidirectional_mask_function}
    of_source = theirs(source != pad_id, source_len, **both_ways)
    of_memory = theirs(source != pad_id, target_len, **both_ways)
    assert_same_mask(np.broadcast_to(source_mask, of_source.shape), of_source)
    assert_same_mask(target_mask, theirs(real_target, target_len))
    assert_same_mask(np.broadcast_to(memory_mask, of_memory.shape), of_memory)


@few
@given(pair=sentence_pairs(), pad_id=ids)
def test_no_row_of_the_target_is_empty_and_query_0_sees_only_itself(pair, pad_id):
    _, target_mask, _ = seq2seq_masks(*pair, pad_id)
    assert target_mask.any(axis=-1).all()
    assert_same_mask(target_mask[:, 0, 0].sum(-1), np.ones(len(target_mask), int))


def test_the_tokens_are_not_modified():
    source, target = SOURCE.copy(), TARGET.copy()
    seq2seq_masks(source, target, PAD)
    np.testing.assert_array_equal(source, SOURCE)
    np.testing.assert_array_equal(target, TARGET)


# The weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_heads", "d_model"), [(1, 5), (3, 15), (7, 7)])
def test_the_weights_are_those_of_multihead_attention(n_heads, d_model, kind):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(
        d_model, n_heads, bias=False, batch_first=True, dtype=kind
    )
    x = random(3, 4, d_model, kind=kind)
    memory = random(3, 6, d_model, kind=kind, seed=1)
    w_q, w_k, _, _ = projections(attention)
    actual = cross_attention_weights(
        x.numpy(),
        memory.numpy(),
        w_q,
        w_k,
        n_heads=n_heads,
        memory_mask=(SOURCE != PAD)[:, None, None],
    )
    _, expected = attention(
        x,
        memory,
        memory,
        key_padding_mask=torch.from_numpy(SOURCE == PAD),
        average_attn_weights=False,
    )
    assert actual.dtype == x.numpy().dtype
    assert_close(torch.from_numpy(actual), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_are_a_loop_over_heads_and_tokens(kind):
    n_heads, d_head = 2, 5
    x = random(2, 3, 10, kind=kind).numpy()
    memory = random(2, 4, 10, kind=kind, seed=1).numpy()
    w_q, w_k = random(2, 10, 10, kind=kind, seed=2).numpy()
    seen = np.random.default_rng(0).random((2, n_heads, 3, 4)) < 0.6
    seen[..., 2] = True
    expected = np.zeros((2, n_heads, 3, 4), dtype=x.dtype)
    for b, head, query in np.ndindex(2, n_heads, 3):
        part = slice(head * d_head, (head + 1) * d_head)
        asks = x[b, query] @ w_q[:, part]
        keys = [key for key in range(4) if seen[b, head, query, key]]
        scores = torch.tensor(
            [float(asks @ (memory[b, key] @ w_k[:, part])) for key in keys],
            dtype=torch.float64,
        )
        row = torch.softmax(scores / d_head**0.5, 0).numpy()
        expected[b, head, query, keys] = row
    actual = cross_attention_weights(
        x, memory, w_q, w_k, n_heads=n_heads, memory_mask=seen
    )
    assert_close(as_torch(actual), as_torch(expected))


def test_weights_do_not_overflow_and_hidden_keys_never_win():
    x = np.full((1, 2, 4), 1e6)
    memory = np.array([[[-1e6] * 4, [-1e6] * 4, [1.0] * 4]])
    actual = cross_attention_weights(
        x,
        memory,
        np.eye(4),
        np.eye(4),
        n_heads=2,
        memory_mask=np.array([True, True, False]),
    )
    expected = np.broadcast_to([0.5, 0.5, 0.0], (1, 2, 2, 3))
    np.testing.assert_array_equal(actual, expected)


def test_source_tokens_in_another_order_have_the_same_weights_in_that_order():
    x, memory = random(2, 3, 6).numpy(), random(2, 5, 6, seed=1).numpy()
    w_q, w_k = random(2, 6, 6, seed=2).numpy()
    seen = np.array([True, False, True, True, True])
    order = np.array([3, 0, 4, 2, 1])

    def weights(memory, seen):
        return cross_attention_weights(x, memory, w_q, w_k, n_heads=3, memory_mask=seen)

    assert_close(
        as_torch(weights(memory[:, order], seen[order])),
        as_torch(weights(memory, seen)[..., order]),
    )


# The decoder layer


def decoder_layer(d_model, n_heads, kind):
    """PyTorch's own, without what is not attention: its norms and feed-forward."""
    torch.manual_seed(1)
    layer = nn.TransformerDecoderLayer(
        d_model,
        n_heads,
        dim_feedforward=3,
        dropout=0.0,
        bias=False,
        batch_first=True,
        dtype=kind,
    )
    layer.norm1 = layer.norm2 = layer.norm3 = nn.Identity()
    nn.init.zeros_(layer.linear2.weight)
    return layer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_heads", "d_model"), [(1, 5), (3, 15), (7, 7)])
def test_it_is_pytorchs_decoder_layer_without_norms_and_feed_forward(
    n_heads, d_model, kind
):
    layer = decoder_layer(d_model, n_heads, kind)
    x = random(3, 5, d_model, kind=kind)
    memory = random(3, 6, d_model, kind=kind, seed=1)
    _, target_mask, memory_mask = seq2seq_masks(SOURCE, TARGET, PAD)
    actual = decoder_attention(
        x.numpy(),
        memory.numpy(),
        projections(layer.self_attn),
        projections(layer.multihead_attn),
        n_heads=n_heads,
        target_mask=target_mask,
        memory_mask=memory_mask,
    )
    hidden = TARGET == PAD
    hidden[:, 0] = False
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = layer(
        x,
        memory,
        tgt_mask=future,
        tgt_key_padding_mask=torch.from_numpy(hidden),
        memory_key_padding_mask=torch.from_numpy(SOURCE == PAD),
    )
    assert actual.dtype == x.numpy().dtype
    assert_close(torch.from_numpy(actual), expected.detach())


def test_pytorchs_layer_has_self_attention_first_and_a_residual_around_each():
    """Checks the reference: the calls of its parts, in their order."""
    layer = decoder_layer(6, 2, torch.float64)
    calls = []

    def note(name):
        def hook(module, args, kwargs, output):
            calls.append((name, *args, output[0]))

        return hook

    layer.self_attn.register_forward_hook(note("self"), with_kwargs=True)
    layer.multihead_attn.register_forward_hook(note("cross"), with_kwargs=True)
    x, memory = random(2, 4, 6), random(2, 3, 6, seed=1)
    output = layer(x, memory)
    first, second = calls
    assert [first[0], second[0]] == ["self", "cross"]
    for actual, expected in zip(first[1:4], (x, x, x), strict=True):
        assert_close(actual, expected)
    asked = x + first[4]
    for actual, expected in zip(second[1:4], (asked, memory, memory), strict=True):
        assert_close(actual, expected)
    assert_close(output, asked + second[4])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_two_multihead_attentions_in_a_row(kind):
    torch.manual_seed(2)
    own, cross = (
        nn.MultiheadAttention(8, 4, bias=False, batch_first=True, dtype=kind)
        for _ in range(2)
    )
    x, memory = random(2, 5, 8, kind=kind), random(2, 3, 8, kind=kind, seed=1)
    past = torch.ones(5, 5, dtype=torch.bool).tril()
    seen = torch.tensor([[True, True, False], [True, True, True]])
    actual = decoder_attention(
        x.numpy(),
        memory.numpy(),
        projections(own),
        projections(cross),
        n_heads=4,
        target_mask=past.numpy(),
        memory_mask=seen[:, None, None].numpy(),
    )
    first = x + own(x, x, x, attn_mask=~past)[0]
    expected = first + cross(first, memory, memory, key_padding_mask=~seen)[0]
    assert_close(torch.from_numpy(actual), expected.detach())


def some_layer(n_target=5, n_source=6):
    """A layer of ours as a function of x, memory and the masks."""
    weights = random(2, 4, 6, 6, seed=3).numpy() / 3

    def layer(x, memory, target_mask, memory_mask):
        return decoder_attention(
            x,
            memory,
            tuple(weights[0]),
            tuple(weights[1]),
            n_heads=3,
            target_mask=target_mask,
            memory_mask=memory_mask,
        )

    x = random(3, n_target, 6).numpy()
    return layer, x, random(3, n_source, 6, seed=1).numpy()


def test_no_output_depends_on_a_later_target_token():
    layer, x, memory = some_layer()
    _, target_mask, memory_mask = seq2seq_masks(SOURCE, TARGET, PAD)
    before = layer(x, memory, target_mask, memory_mask)
    for known in range(1, 5):
        changed = x.copy()
        changed[:, known:] += 1
        after = layer(changed, memory, target_mask, memory_mask)
        np.testing.assert_array_equal(after[:, :known], before[:, :known])


def test_no_output_depends_on_what_stands_in_the_sources_padding():
    layer, x, memory = some_layer()
    _, target_mask, memory_mask = seq2seq_masks(SOURCE, TARGET, PAD)
    changed = memory.copy()
    changed[SOURCE == PAD] += 1
    np.testing.assert_array_equal(
        layer(x, changed, target_mask, memory_mask),
        layer(x, memory, target_mask, memory_mask),
    )


def test_every_output_depends_on_every_real_source_token():
    layer, x, memory = some_layer()
    _, target_mask, memory_mask = seq2seq_masks(SOURCE, TARGET, PAD)
    before = layer(x, memory, target_mask, memory_mask)
    for key in range(6):
        changed = memory.copy()
        changed[:, key] += 1
        moved = abs(layer(x, changed, target_mask, memory_mask) - before).max(-1) > 0
        real = (SOURCE[:, key] != PAD)[:, None]
        np.testing.assert_array_equal(moved, np.broadcast_to(real, moved.shape))


def test_the_arguments_are_not_modified():
    layer, x, memory = some_layer()
    _, target_mask, memory_mask = seq2seq_masks(SOURCE, TARGET, PAD)
    arguments = x, memory, target_mask, memory_mask
    copies = [argument.copy() for argument in arguments]
    layer(*arguments)
    for argument, copy in zip(arguments, copies, strict=True):
        np.testing.assert_array_equal(argument, copy)


# Whole models: padding of the source must not change what they answer.


def tiny(name):
    """A small random BART or T5; padding is 3, and T5 starts with it."""
    torch.manual_seed(4)
    if name == "bart":
        config = BartConfig(
            vocab_size=5,
            d_model=12,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=3,
            decoder_attention_heads=3,
            encoder_ffn_dim=7,
            decoder_ffn_dim=7,
            max_position_embeddings=20,
            pad_token_id=PAD,
            bos_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=1,
            forced_eos_token_id=None,
            attn_implementation="eager",
        )
        return BartModel(config).double().eval()
    config = T5Config(
        vocab_size=5,
        d_model=12,
        d_kv=5,
        d_ff=7,
        num_layers=2,
        num_heads=3,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
        eos_token_id=1,
        attn_implementation="eager",
    )
    return T5Model(config).double().eval()


def answer(model, source, target, masks):
    """The decoder's output, and its maps on the source, under our masks."""
    source_mask, target_mask, memory_mask = masks
    with torch.no_grad():
        memory = model.encoder(
            torch.from_numpy(source),
            attention_mask=torch.from_numpy(source_mask[:, 0, 0]),
        ).last_hidden_state
        output = model.decoder(
            torch.from_numpy(target),
            attention_mask=torch.from_numpy(target_mask[:, 0, -1]),
            encoder_hidden_states=memory,
            encoder_attention_mask=torch.from_numpy(memory_mask[:, 0, 0]),
            output_attentions=True,
        )
    return output.last_hidden_state, output.cross_attentions


def padded(source):
    more = np.full((len(source), 3), PAD)
    return np.concatenate([source, more], axis=1)


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_more_padding_of_the_source_changes_no_answer_of_a_model(name):
    model = tiny(name)
    source = SOURCE[[0, 2]]
    source = np.where(source == PAD, 4, source)
    target = TARGET[[0, 2]]
    longer = padded(source)
    plain, _ = answer(model, source, target, seq2seq_masks(source, target, PAD))
    masks = seq2seq_masks(longer, target, PAD)
    hidden, maps = answer(model, longer, target, masks)
    assert_close(hidden, plain)
    for weights in maps:
        assert (weights[..., -3:] == 0).all()
        assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    everything = masks[0], masks[1], np.ones_like(masks[2])
    seen, _ = answer(model, longer, target, everything)
    assert (seen - plain).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_models_make_of_two_masks_by_token_what_ours_are(name):
    """They take one bool per token, and add the triangle themselves."""
    model = tiny(name)
    source_mask, target_mask, memory_mask = seq2seq_masks(SOURCE, TARGET, PAD)
    expected, maps = answer(
        model, SOURCE, TARGET, (source_mask, target_mask, memory_mask)
    )
    with torch.no_grad():
        actual = model(
            torch.from_numpy(SOURCE),
            attention_mask=torch.from_numpy(source_mask[:, 0, 0]),
            decoder_input_ids=torch.from_numpy(TARGET),
            decoder_attention_mask=torch.from_numpy(target_mask[:, 0, -1]),
            output_attentions=True,
        )
    assert_close(actual.last_hidden_state, expected)
    for weights, ours in zip(actual.decoder_attentions, maps, strict=True):
        zero = (weights == 0).numpy()
        assert_same_mask(zero, np.broadcast_to(~target_mask, zero.shape))
        assert ours.shape[-2:] == (5, 6)


def test_t5_starts_with_the_id_of_padding_and_reads_it():
    model = tiny("t5")
    config = model.config
    assert config.decoder_start_token_id == config.pad_token_id
    labels = torch.tensor([[1, 4, 0, 2]])
    shifted = T5ForConditionalGeneration(config)._shift_right(labels)
    assert shifted[0, 0] == config.pad_token_id
    start = shifted.numpy()
    masks = seq2seq_masks(SOURCE[:1], start, PAD)
    by_default = model(
        torch.from_numpy(SOURCE[:1]),
        attention_mask=torch.from_numpy(masks[0][:, 0, 0]),
        decoder_input_ids=shifted,
    ).last_hidden_state
    ours, _ = answer(model, SOURCE[:1], start, masks)
    assert_close(ours, by_default.detach())
    hidden = masks[1] & (start != PAD)[:, None, None]
    without, _ = answer(model, SOURCE[:1], start, (masks[0], hidden, masks[2]))
    assert (without - ours).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_our_maps_are_those_of_barts_cross_attention(kind):
    model = tiny("bart").to(kind)
    masks = seq2seq_masks(SOURCE, TARGET, PAD)
    layer = model.decoder.layers[0].encoder_attn
    taken = {}

    def note(module, args, kwargs):
        taken["x"] = kwargs.get("hidden_states", args[0] if args else None)
        taken["memory"] = kwargs["key_value_states"]

    layer.register_forward_pre_hook(note, with_kwargs=True)
    _, maps = answer(model, SOURCE, TARGET, masks)
    for projection in (layer.q_proj, layer.k_proj):
        assert (projection.bias == 0).all()  # or ours, without biases, would differ
    actual = cross_attention_weights(
        taken["x"].numpy(),
        taken["memory"].numpy(),
        layer.q_proj.weight.detach().numpy().T,
        layer.k_proj.weight.detach().numpy().T,
        n_heads=3,
        memory_mask=masks[2],
    )
    assert_close(torch.from_numpy(actual), maps[0])


def test_nn_transformer_does_not_pass_the_sources_padding_on_to_cross_attention():
    torch.manual_seed(5)
    model = nn.Transformer(
        6,
        2,
        num_encoder_layers=1,
        num_decoder_layers=1,
        dim_feedforward=7,
        dropout=0.0,
        batch_first=True,
        dtype=torch.float64,
    )
    source, target = random(1, 4, 6), random(1, 3, 6, seed=1)
    hidden = torch.tensor([[False, False, True, True]])
    past = nn.Transformer.generate_square_subsequent_mask(3, dtype=torch.float64)

    def run(source, **padding):
        return model(source, target, tgt_mask=past, **padding).detach()

    def movement(**padding):
        changed = source + hidden[..., None]
        return (run(changed, **padding) - run(source, **padding)).abs().max()

    assert movement(src_key_padding_mask=hidden) > 1e-3
    both = {"src_key_padding_mask": hidden, "memory_key_padding_mask": hidden}
    assert movement(**both) == 0
    assert_close(run(source, **both), run(source[:, :2]))


# What learners are told of mistakes that are in no list

GIVEN = """
import math
import numpy as np
from solutions.attention import attention_scores, softmax
from solutions.heads import multi_head_attention, split_heads
"""
HEADS = {
    "seq2seq_masks": """
def seq2seq_masks(source, target_input, pad_id):
    source_mask = (source != pad_id)[:, None, None]
    real = target_input != pad_id
    without_start = real.copy()
    real[:, 0] = True
    n = target_input.shape[1]
    past = np.tri(n, dtype=bool)
    target_mask = real[:, None, None] & past
""",
    "cross_attention_weights": """
def cross_attention_weights(x, memory, w_q, w_k, *, n_heads, memory_mask):
    query, key = split_heads(x @ w_q, n_heads), split_heads(memory @ w_k, n_heads)
    scores = np.where(memory_mask, attention_scores(query, key), -np.inf)
""",
    "decoder_attention": """
def decoder_attention(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    def attend(x, keys, weights, attn_mask):
        return multi_head_attention(
            x, keys, *weights, n_heads=n_heads, attn_mask=attn_mask
        )
    def own(x, attn_mask=target_mask):
        return attend(x, x, self_weights, attn_mask)
    def cross(x, attn_mask=memory_mask):
        return attend(x, memory, cross_weights, attn_mask)
""",
}
TELLING = {
    "a mask to be added": (
        "seq2seq_masks",
        """
        both = [np.where(m, 0.0, -np.inf) for m in (source_mask, target_mask)]
        return both[0], both[1], both[0]
        """,
        "In `source_mask`: Your function gives back an array of float64 (-inf and 0); "
        "a mask is an array of bool",
    ),
    "a row for each query in the memory mask": (
        "seq2seq_masks",
        """
        return source_mask, target_mask, source_mask & np.ones((n, 1), bool)
        """,
        "In `memory_mask`: The values are right, but copied along axes that should "
        "have length 1",
    ),
    "the target mask transposed": (
        "seq2seq_masks",
        "return source_mask, target_mask.swapaxes(2, 3), source_mask",
        "In `target_mask`: The answer is transposed: query and key have changed "
        "places.",
    ),
    "real tokens counted, the start token with them": (
        "seq2seq_masks",
        """
        real = np.arange(n) < without_start.sum(1, keepdims=True)
        return source_mask, real[:, None, None] & past, source_mask
        """,
        "query 0, key 0 the mask is False, not True; position 0 of the target is real, "
        "whatever its id is. Wrong for a start token with the id of padding",
    ),
    "two start tokens": (
        "seq2seq_masks",
        """
        real[:, :2] = True
        return source_mask, real[:, None, None] & past, source_mask
        """,
        "query 1, key 1 the mask is True, not False; that key is padding.",
    ),
    "one sentence's padding for all": (
        "seq2seq_masks",
        """
        first = np.repeat(source_mask[:1], len(source), axis=0)
        return first, target_mask, first
        """,
        "In `source_mask`: Every batch row has the values of batch row 0.",
    ),
    "an argument changed": (
        "seq2seq_masks",
        """
        target_input[:, 0] = pad_id + 1
        return source_mask, target_mask, source_mask
        """,
        "Your function changes `target_input`, which belongs to its caller.",
    ),
    "neither scaled nor masked": (
        "cross_attention_weights",
        "return softmax(query @ key.swapaxes(-1, -2))",
        "Two things at once would explain it. The scores are not scaled. And: "
        "`memory_mask` is not used",
    ),
    "multiplied by K": (
        "cross_attention_weights",
        "return softmax(scores * query.shape[-1])",
        "The scores behind these weights are 5 times the right ones.",
    ),
    "divided by 8, whatever K is": (
        "cross_attention_weights",
        "return softmax(scores * math.sqrt(query.shape[-1]) / 8)",
        "The scores behind these weights are 0.2795 times the right ones.",
    ),
    "exp without the maximum": (
        "cross_attention_weights",
        """
        exp = np.exp(scores)
        return exp / exp.sum(-1, keepdims=True)
        """,
        "NaN, the first at batch row 0, head 0, target token 0, source token 1. Wrong "
        "for large scores; right for a padded source",
    ),
    "masked too late and made to sum to 1 again": (
        "cross_attention_weights",
        """
        weights = softmax(attention_scores(query, key)) * memory_mask
        return weights / weights.sum(-1, keepdims=True)
        """,
        "Wrong for large scores; right for a padded source",
    ),
    "keys with the queries' matrix": (
        "cross_attention_weights",
        """
        key = split_heads(memory @ w_q, n_heads)
        scores = np.where(memory_mask, attention_scores(query, key), -np.inf)
        return softmax(scores)
        """,
        "`w_q` is used where `w_k` belongs.",
    ),
    "the softmax over all pairs": (
        "cross_attention_weights",
        """
        flat = scores.reshape(*scores.shape[:2], -1)
        return softmax(flat).reshape(scores.shape)
        """,
        "the weights of target token 0 sum to 0.2998, not to 1.",
    ),
    "each side's mask from head 0": (
        "cross_attention_weights",
        "return np.repeat(softmax(scores)[:, :1], n_heads, axis=1)",
        "Every head has the values of head 0.",
    ),
    "the input twice": (
        "decoder_attention",
        """
        first = x + own(x)
        return x + first + cross(first)
        """,
        "It is 2 times `x`, plus 1 times what self-attention finds, plus 1 times what "
        "cross-attention finds; each should be there once.",
    ),
    "subtracted": (
        "decoder_attention",
        """
        first = x + own(x)
        return first - cross(first)
        """,
        "plus -1 times what cross-attention finds",
    ),
    "side by side, and without the input": (
        "decoder_attention",
        "return own(x) + cross(x)",
        "Two things at once would explain it. What self-attention finds takes the "
        "place of `x`",
    ),
    "no mask at all": (
        "decoder_attention",
        """
        first = x + own(x, None)
        return first + cross(first, None)
        """,
        "Two things at once would explain it. `target_mask` is not used: every target "
        "token sees the future. And: `memory_mask` is not used",
    ),
    "a transposed mask": (
        "decoder_attention",
        """
        first = x + own(x, target_mask.swapaxes(-1, -2))
        return first + cross(first)
        """,
        "The answer is right for `target_mask` with its last two axes swapped.",
    ),
    "in place": (
        "decoder_attention",
        """
        x += own(x)
        x += cross(x)
        return x
        """,
        "Your function changes `x`, which belongs to its caller. What it gives back is "
        "right.",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    name, body, sentence = TELLING[case]
    namespace = {}
    exec(GIVEN + HEADS[name] + indent(inspect.cleandoc(body), "    "), namespace)
    with np.errstate(all="ignore"):
        verdict = verdict_on(namespace[name])
    assert_told(verdict, sentence)
