"""The key-value cache against PyTorch, Transformers, slow loops and its own laws."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from telling import assert_quick, assert_told, told
from torch.nn.attention.bias import causal_lower_right
from torch.testing import assert_close
from transformers import (
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    StaticCache,
)

from solutions import attention, cache, heads, masks
from solutions.blocks import rms_norm, swiglu
from solutions.cache import (
    cache_positions,
    decode_step,
    prefill_in_chunks,
    update_cache,
)
from solutions.heads import merge_heads, split_heads
from solutions.inputs import pad_batch, position_ids
from solutions.relative_positions import apply_rope, rope_frequencies

few = settings(derandomize=True, max_examples=30, deadline=None)
sizes = st.integers(1, 5)
both_widths = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])

NONSENSE = 1e4  # what stands in places that are not filled


def random(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def prompt(b, h, g, t, k, dtype=torch.float64, seed=0):
    """Queries, keys and values of T tokens."""
    query = random(b, h, t, k, dtype=dtype, seed=seed)
    key, value = random(2, b, g, t, k, dtype=dtype, seed=seed + 1)
    return query, key, value


def assert_exactly_equal(actual, expected):
    np.testing.assert_array_equal(actual, np.asarray(expected), strict=True)


def assert_as_torch(actual, expected):
    """Equal within torch.testing's tolerances, and of the same dtype."""
    assert_close(torch.from_numpy(actual), expected)


def caches_with(key, value, max_len):
    """Two caches that hold these keys and values, and nonsense behind them."""
    shape = (*key.shape[:2], max_len, key.shape[3])
    cache_k, cache_v = np.full((2, *shape), NONSENSE, dtype=key.numpy().dtype)
    cache_k[:, :, : key.shape[2]] = key
    cache_v[:, :, : key.shape[2]] = value
    return cache_k, cache_v


# Writing into a cache


@few
@given(b=sizes, g=sizes, t=sizes, k=sizes, start=st.integers(0, 4), room=sizes)
def test_update_cache_is_torchs_index_copy(b, g, t, k, start, room):
    old = random(b, g, start + t + room, k)
    new = random(b, g, t, k, seed=1)
    expected = old.index_copy(2, torch.arange(start, start + t), new)
    assert_exactly_equal(update_cache(old.numpy(), new.numpy(), start), expected)


def static_layer(max_len):
    config = LlamaConfig(num_hidden_layers=1)
    return StaticCache(config, max_cache_len=max_len).layers[0]


@both_widths
def test_two_updates_are_those_of_transformers_static_cache(dtype):
    layer, ours = static_layer(7), np.zeros((2, 3, 7, 5))
    for start, count in ((0, 4), (4, 2)):
        new = random(2, 3, count, 5, dtype=dtype, seed=start)
        layer.update(new, new)
        ours = update_cache(ours.astype(new.numpy().dtype), new.numpy(), start)
    assert_exactly_equal(ours, layer.keys)


def test_the_filled_part_is_transformers_dynamic_cache():
    library, ours = DynamicCache(), np.full((2, 3, 9, 5), NONSENSE)
    for start, count in ((0, 4), (4, 1), (5, 2)):
        new = random(2, 3, count, 5, seed=start)
        grown, _ = library.update(new, new, layer_idx=0)
        ours = update_cache(ours, new.numpy(), start)
        assert_exactly_equal(ours[:, :, : start + count], grown)


def test_all_other_places_keep_what_they_hold():
    old = np.random.default_rng(0).normal(size=(2, 3, 9, 4))
    answer = update_cache(old, np.zeros((2, 3, 2, 4)), 5)
    assert_exactly_equal(np.delete(answer, [5, 6], axis=2), np.delete(old, [5, 6], 2))


def test_a_cache_that_is_too_small_is_refused_by_its_numbers():
    with pytest.raises(ValueError, match=r"\b8\b.*\b7\b"):
        update_cache(np.zeros((2, 3, 7, 4)), np.zeros((2, 3, 2, 4)), 6)


def test_without_the_refusal_a_token_that_does_not_fit_is_lost_without_a_word():
    full = np.zeros((1, 1, 4, 2))
    full[:, :, 4:5] = np.ones((1, 1, 1, 2))  # NumPy stretches 1 to 0 places
    assert not full.any()
    with pytest.raises(ValueError, match=r"\b5\b.*\b4\b"):
        update_cache(full, np.ones((1, 1, 1, 2)), 4)


# Positions


@few
@given(past_len=st.integers(0, 50), new_len=st.integers(1, 9))
def test_positions_go_on_counting_where_the_cached_ones_end(past_len, new_len):
    assert list(cache_positions(past_len, new_len)) == [
        past_len + token for token in range(new_len)
    ]


def test_positions_are_those_that_llama_turns_its_keys_by():
    model, seen = tiny_llama(), []
    model.model.rotary_emb.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["position_ids"][0]),
        with_kwargs=True,
    )
    past = DynamicCache(config=model.config)
    done = 0
    for count in (4, 1, 3):
        with torch.no_grad():
            model(torch.ones(1, count, dtype=int), past_key_values=past)
        np.testing.assert_array_equal(cache_positions(done, count), seen[-1])
        done += count


# One step


@both_widths
@pytest.mark.parametrize("n_kv_heads", [1, 2, 3, 6])
@pytest.mark.parametrize(("past", "new"), [(0, 4), (5, 1), (5, 3), (1, 6)])
def test_decode_step_is_torchs_attention_with_a_lower_right_triangle(
    dtype, n_kv_heads, past, new
):
    _, old_k, old_v = prompt(2, 6, n_kv_heads, past, 7, dtype)
    query, key, value = prompt(2, 6, n_kv_heads, new, 7, dtype, seed=2)
    n_rep = 6 // n_kv_heads
    expected = F.scaled_dot_product_attention(
        query,
        torch.cat([old_k, key], 2).repeat_interleave(n_rep, 1),
        torch.cat([old_v, value], 2).repeat_interleave(n_rep, 1),
        attn_mask=causal_lower_right(new, past + new),
    )
    cache_k, cache_v = caches_with(old_k, old_v, past + new + 2)
    new_arrays = query.numpy(), key.numpy(), value.numpy()
    output, new_k, new_v = decode_step(*new_arrays, cache_k, cache_v, past)
    assert_as_torch(output, expected)
    assert_exactly_equal(new_k, update_cache(cache_k, key.numpy(), past))
    assert_exactly_equal(new_v, update_cache(cache_v, value.numpy(), past))


def test_decode_step_is_the_slow_loop():
    _, old_k, old_v = prompt(2, 4, 2, 3, 5)
    query, key, value = (x.numpy() for x in prompt(2, 4, 2, 3, 5, seed=2))
    cache_k, cache_v = caches_with(old_k, old_v, 8)
    output, *_ = decode_step(query, key, value, cache_k, cache_v, 3)
    for b, h, i in np.ndindex(2, 4, 3):
        keys = [*old_k[b, h // 2].numpy(), *key[b, h // 2, : i + 1]]
        values = [*old_v[b, h // 2].numpy(), *value[b, h // 2, : i + 1]]
        weights = np.exp([query[b, h, i] @ k / np.sqrt(5) for k in keys])
        expected = sum(w * v for w, v in zip(weights, values, strict=True))
        np.testing.assert_allclose(output[b, h, i], expected / weights.sum())


@both_widths
def test_token_by_token_is_all_at_once(dtype):
    query, key, value = (x.numpy() for x in prompt(2, 6, 3, 7, 5, dtype))
    empty = np.full((2, 3, 7, 5), NONSENSE, dtype=query.dtype)
    at_once, full_k, full_v = decode_step(query, key, value, empty, empty, 0)
    cache_k = cache_v = empty
    for token in range(7):
        one = np.s_[:, :, token : token + 1]
        output, cache_k, cache_v = decode_step(
            query[one], key[one], value[one], cache_k, cache_v, token
        )
        assert_as_torch(output, torch.from_numpy(at_once[one]))
    assert_exactly_equal(cache_k, full_k)
    assert_exactly_equal(cache_v, full_v)


def test_no_output_depends_on_a_place_that_is_not_filled():
    query, key, value = (x.numpy() for x in prompt(2, 4, 2, 3, 5))
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 2, 2, 9, 5))
    other[:, :, :4] = one[:, :, :4]
    first, *_ = decode_step(query, key, value, one, one, 4)
    second, *_ = decode_step(query, key, value, other, other, 4)
    assert_exactly_equal(first, second)


def test_no_output_depends_on_a_later_new_token():
    query, key, value = (x.numpy() for x in prompt(2, 4, 2, 3, 5))
    past = np.random.default_rng(0).normal(size=(2, 2, 9, 5))
    before, *_ = decode_step(query, key, value, past, past, 4)
    key[:, :, -1], value[:, :, -1] = 7, 8
    after, *_ = decode_step(query, key, value, past, past, 4)
    assert_exactly_equal(after[:, :, :-1], before[:, :, :-1])
    assert not np.allclose(after[:, :, -1], before[:, :, -1])


def test_no_argument_is_modified():
    arguments = [x.numpy() for x in prompt(2, 4, 2, 3, 5)]
    arguments += list(np.random.default_rng(0).normal(size=(2, 2, 2, 9, 5)))
    before = [array.copy() for array in arguments]
    decode_step(*arguments, 4)
    prefill_in_chunks(*arguments[:3], 2)
    update_cache(arguments[3], arguments[1], 4)
    for array, copy in zip(arguments, before, strict=True):
        assert_exactly_equal(array, copy)


# A prompt in chunks


@few
@given(t=st.integers(1, 9), chunk=st.integers(1, 11), g=st.sampled_from([1, 2, 4]))
def test_the_size_of_the_chunks_does_not_show(t, chunk, g):
    query, key, value = prompt(2, 4, g, t, 3)
    expected = F.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=True
    )
    arrays = query.numpy(), key.numpy(), value.numpy()
    assert_as_torch(prefill_in_chunks(*arrays, chunk), expected)


@both_widths
def test_prefill_in_chunks_is_torchs_causal_attention(dtype):
    query, key, value = prompt(2, 6, 3, 10, 7, dtype)
    expected = F.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=True
    )
    arrays = query.numpy(), key.numpy(), value.numpy()
    assert_as_torch(prefill_in_chunks(*arrays, 4), expected)


# A whole model of Transformers, with our functions in the place of its own


def assert_as_llama(actual, expected):
    """Equal in single precision: Llama turns its keys by angles of that precision."""
    assert_close(torch.from_numpy(actual).float(), expected.float())


def tiny_llama(**changes):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32,
        initializer_range=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=None,
        **changes,
    )  # fmt: skip
    return LlamaForCausalLM(config).double().eval()


def tiny_gpt2():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=50, n_embd=24, n_layer=2, n_head=4, n_positions=32,
        initializer_range=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=None,
    )  # fmt: skip
    return GPT2LMHeadModel(config).double().eval()


def our_llama(model, tokens, positions, caches, past_len):
    """Logits, and the caches with the new tokens: the weights are the model's own."""
    weights = {name: w.detach().numpy() for name, w in model.named_parameters()}
    x = weights["model.embed_tokens.weight"][tokens]  # (B, T, D)
    inv_freq, filled = rope_frequencies(6), []
    for layer, (cache_k, cache_v) in enumerate(caches):

        def weight(name, layer=layer):
            found = weights[f"model.layers.{layer}.{name}.weight"]
            return found.T if found.ndim == 2 else found

        normed = rms_norm(x, weight("input_layernorm"), 1e-6)
        query = split_heads(normed @ weight("self_attn.q_proj"), 4)
        key = split_heads(normed @ weight("self_attn.k_proj"), 2)
        value = split_heads(normed @ weight("self_attn.v_proj"), 2)
        output, cache_k, cache_v = decode_step(
            apply_rope(query, positions, inv_freq, layout="half"),
            apply_rope(key, positions, inv_freq, layout="half"),
            value, cache_k, cache_v, past_len,
        )  # fmt: skip
        filled.append((cache_k, cache_v))
        x = x + merge_heads(output) @ weight("self_attn.o_proj")
        normed = rms_norm(x, weight("post_attention_layernorm"), 1e-6)
        mlp = (weight(f"mlp.{name}_proj") for name in ("gate", "up", "down"))
        x = x + swiglu(normed, *mlp)
    logits = rms_norm(x, weights["model.norm.weight"], 1e-6)
    return logits @ weights["lm_head.weight"].T, filled


def test_llama_with_our_cache_gives_the_logits_and_keys_of_transformers():
    model = tiny_llama()
    tokens = torch.randint(2, 50, (2, 9), generator=torch.Generator().manual_seed(1))
    library = DynamicCache(config=model.config)
    caches = [np.full((2, 2, 2, 12, 6), NONSENSE)] * 2
    done = 0
    for count in (5, 1, 3):
        part = tokens[:, done : done + count]
        with torch.no_grad():
            expected = model(part, past_key_values=library).logits
        positions = cache_positions(done, count)
        logits, caches = our_llama(model, part.numpy(), positions, caches, done)
        assert_as_llama(logits, expected)
        done += count
        for (cache_k, cache_v), layer in zip(caches, library.layers, strict=True):
            assert_as_llama(cache_k[:, :, :done], layer.keys)  # turned by RoPE
            assert_as_llama(cache_v[:, :, :done], layer.values)


def test_llama_with_our_cache_is_llama_without_a_cache():
    model = tiny_llama()
    tokens = torch.randint(2, 50, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(tokens, use_cache=False).logits
    caches, logits = [np.full((2, 2, 2, 9, 6), NONSENSE)] * 2, []
    for token in range(9):
        one = tokens[:, token : token + 1].numpy()
        step, caches = our_llama(model, one, cache_positions(token, 1), caches, token)
        logits.append(step)
    assert_as_llama(np.concatenate(logits, axis=1), expected)


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
def test_transformers_writes_the_same_with_and_without_a_cache(make):
    model = make()
    tokens = torch.randint(2, 50, (2, 5), generator=torch.Generator().manual_seed(1))
    written = [
        model.generate(tokens, do_sample=False, max_new_tokens=6, **how)
        for how in (
            {"use_cache": True},
            {"use_cache": False},
            {"cache_implementation": "static"},
        )
    ]
    assert torch.equal(written[0], written[1])
    assert torch.equal(written[0], written[2])


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
def test_a_left_padded_batch_with_position_ids_is_each_row_alone_step_by_step(make):
    model = make()
    sequences = [[5, 6, 7, 8, 9], [11, 12]]
    tokens, real = pad_batch(sequences, 0, side="left")
    library = DynamicCache(config=model.config)
    alone = [DynamicCache(config=model.config) for _ in sequences]
    new = tokens
    for step in range(3):
        with torch.no_grad():
            batch = model(
                torch.from_numpy(new),
                attention_mask=torch.from_numpy(real),
                position_ids=torch.from_numpy(position_ids(real)[:, -new.shape[1] :]),
                past_key_values=library,
            ).logits[:, -1]
            rows = [
                model(
                    torch.tensor([sequence if step == 0 else [20 + step]]),
                    past_key_values=past,
                ).logits[0, -1]
                for sequence, past in zip(sequences, alone, strict=True)
            ]
        assert_close(batch, torch.stack(rows))
        new = np.full((2, 1), 21 + step)
        real = np.pad(real, ((0, 0), (0, 1)), constant_values=True)


def test_without_position_ids_a_left_padded_row_of_gpt2_comes_out_otherwise():
    model = tiny_gpt2()
    tokens, real = pad_batch([[5, 6, 7, 8, 9], [11, 12]], 0, side="left")
    given = torch.from_numpy(tokens), torch.from_numpy(real)
    with torch.no_grad():
        batch = model(given[0], attention_mask=given[1]).logits[:, -1]
        long = model(torch.tensor([[5, 6, 7, 8, 9]])).logits[0, -1]
        short = model(torch.tensor([[11, 12]])).logits[0, -1]
    assert_close(batch[0], long)
    assert not torch.allclose(batch[1], short, atol=0.1)


# What learners are told of mistakes that are in no list


# What the notebook of the chapter has given, and right answers to its own exercises
GIVEN = {**vars(attention), **vars(heads), **vars(masks), **vars(cache)}

UPDATE = """
def update_cache(cache, new, start):
    answer = cache.copy()
"""
STEP = """
def decode_step(query, key, value, cache_k, cache_v, past_len):
    cache_k = update_cache(cache_k, key, past_len)
    cache_v = update_cache(cache_v, value, past_len)
    q_len, n_rep = query.shape[2], query.shape[1] // key.shape[1]
    keys = repeat_kv(cache_k[:, :, : past_len + q_len], n_rep)
    values = repeat_kv(cache_v[:, :, : past_len + q_len], n_rep)
    attn_mask = causal_mask(q_len, past_len + q_len)
"""
CHUNKS = """
def prefill_in_chunks(query, key, value, chunk):
    cache_k, cache_v = np.zeros_like(key), np.zeros_like(value)
    outputs, t = [], query.shape[2]
    for start in range(0, t, chunk):
        part = np.s_[:, :, start : start + chunk]
"""
TELLING = {
    "in place": (
        """
        def update_cache(cache, new, start):
            cache[:, :, start : start + new.shape[2]] = new
            return cache
        """,
        "Your function changes `cache`, which belongs to its caller. What it gives "
        "back is right",
    ),
    "as many places as heads": (
        UPDATE + "    answer[:, :, start : start + new.shape[1]] = new\n"
        "    return answer",
        "At batch row 0, head 0, position 4, column 0 stands the number that `new` has "
        "for token 0; there belongs the one that `cache` has for position 4",
    ),
    "one over the other": (
        UPDATE + "    for token in range(new.shape[2]):\n"
        "        answer[:, :, start] = new[:, :, token]\n"
        "    return answer",
        "stands the number that `new` has for token 1; there belongs the one that "
        "`new` has for token 0",
    ),
    "the last token first": (
        UPDATE + "    answer[:, :, start : start + new.shape[2]] = new[:, :, ::-1]\n"
        "    return answer",
        "The answer is right for `new` read backwards along axis 2",
    ),
    "an empty array that is not filled": (
        """
        def update_cache(cache, new, start):
            answer = np.empty_like(cache)
            answer[:, :, start : start + new.shape[2]] = new
            return answer
        """,
        "an array from np.empty that is not filled",
    ),
    "the two lengths the wrong way round": (
        "def cache_positions(past_len, new_len): "
        "return np.arange(new_len, past_len + new_len)",
        "`past_len` and `new_len` have changed places",
    ),
    "a row of its own": (
        "def cache_positions(past_len, new_len): "
        "return np.arange(past_len, past_len + new_len)[None]",
        "The values are right, but in another shape",
    ),
    "up to the cached ones": (
        "def cache_positions(past_len, new_len): "
        "return np.arange(past_len - new_len, past_len)",
        "minus new_len",
    ),
    "positions that are no whole numbers": (
        "def cache_positions(past_len, new_len): "
        "return np.linspace(past_len, past_len + new_len - 1, new_len)",
        "an array of float64; asked for is an array of int64",
    ),
    "a square mask": (
        STEP + "    attn_mask = causal_mask(q_len, q_len)\n"
        "    output = scaled_dot_product_attention(query, keys, values, attn_mask)\n"
        "    return output, cache_k, cache_v",
        "right for an output that is the weights, for a single new token, a single new "
        "token and an empty cache",
    ),
    "both caches in place": (
        """
        def decode_step(query, key, value, cache_k, cache_v, past_len):
            end = past_len + query.shape[2]
            cache_k[:, :, past_len:end], cache_v[:, :, past_len:end] = key, value
            n_rep = query.shape[1] // key.shape[1]
            keys = repeat_kv(cache_k[:, :, :end], n_rep)
            values = repeat_kv(cache_v[:, :, :end], n_rep)
            attn_mask = causal_mask(query.shape[2], end)
            output = scaled_dot_product_attention(query, keys, values, attn_mask)
            return output, cache_k, cache_v
        """,
        "changes `cache_k` and `cache_v`, which belong to its caller",
    ),
    "heads that are not shared": (
        STEP + "    keys, values = keys[:, ::n_rep], values[:, ::n_rep]\n"
        "    output = scaled_dot_product_attention(query, keys, values, attn_mask)\n"
        "    return output, cache_k, cache_v",
        "right for one head for all, nothing to share and sizes that are all equal",
    ),
    "a wrong order for the keys alone": (
        STEP + "    keys = np.tile(keys[:, ::n_rep], (1, n_rep, 1, 1))\n"
        "    output = scaled_dot_product_attention(query, keys, values, attn_mask)\n"
        "    return output, cache_k, cache_v",
        "Right are those of heads 0 and 5 alone",
    ),
    "no mask, and another order of heads": (
        STEP + "    keys = np.tile(keys[:, ::n_rep], (1, n_rep, 1, 1))\n"
        "    values = np.tile(values[:, ::n_rep], (1, n_rep, 1, 1))\n"
        "    output = scaled_dot_product_attention(query, keys, values)\n"
        "    return output, cache_k, cache_v",
        "Two things at once would explain it. In `output`: There is no mask: a new "
        "token sees the new ones after it. And: query heads that share",
    ),
    "a mask after the softmax": (
        STEP + "    weights = softmax(attention_scores(query, keys)) * attn_mask\n"
        "    return weights @ values, cache_k, cache_v",
        "Those that head 0 of batch row 0 gives new token 0 add up to 0.6",
    ),
    "hidden scores set to 0": (
        STEP + "    scores = attention_scores(query, keys)\n"
        "    weights = softmax(np.where(attn_mask, scores, 0))\n"
        "    return weights @ values, cache_k, cache_v",
        "is for position 7, which comes after it",
    ),
    "a mask only for an empty cache": (
        STEP + "    attn_mask = None if past_len else attn_mask\n"
        "    output = scaled_dot_product_attention(query, keys, values, attn_mask)\n"
        "    return output, cache_k, cache_v",
        "a single new token and an empty cache",
    ),
    "a window nobody asked for": (
        STEP + "    own = past_len + np.arange(q_len)[:, None]\n"
        "    attn_mask &= np.arange(past_len + q_len) > own - 4\n"
        "    output = scaled_dot_product_attention(query, keys, values, attn_mask)\n"
        "    return output, cache_k, cache_v",
        "which stands at position 6, nothing is for position 0, which it may see",
    ),
    "chunks by themselves, and none that is short": (
        """
        def prefill_in_chunks(query, key, value, chunk):
            outputs = []
            for number in range(query.shape[2] // chunk):
                part = np.s_[:, :, number * chunk : (number + 1) * chunk]
                empty = np.zeros_like(key)
                output, *_ = decode_step(
                    query[part], key[part], value[part], empty, empty, 0
                )
                outputs.append(output)
            return np.concatenate(outputs, axis=2)
        """,
        "Each chunk sees only itself: the tokens of earlier chunks are not seen. And: "
        "the last chunk is dropped",
    ),
    "all keys, and the queries taken for the last": (
        CHUNKS + "        n_rep = query.shape[1] // key.shape[1]\n"
        "        attn_mask = causal_mask(query[part].shape[2], t)\n"
        "        outputs.append(scaled_dot_product_attention(\n"
        "            query[part], repeat_kv(key, n_rep), repeat_kv(value, n_rep),\n"
        "            attn_mask))\n"
        "    return np.concatenate(outputs, axis=2)",
        "is for position 1, in its future",
    ),
    "each chunk over the one before": (
        CHUNKS + "        output, cache_k, cache_v = decode_step(\n"
        "            query[part], key[part], value[part], cache_k, cache_v,\n"
        "            max(start - chunk, 0))\n"
        "        outputs.append(output)\n"
        "    return np.concatenate(outputs, axis=2)",
        "gives token 3, which stands at position 3, nothing is for position 0, which "
        "it may see",
    ),
    "every chunk into the first places of the answer": (
        CHUNKS + "        output, cache_k, cache_v = decode_step(\n"
        "            query[part], key[part], value[part], cache_k, cache_v, start)\n"
        "        outputs = np.zeros_like(query) if start == 0 else outputs\n"
        "        outputs[:, :, : output.shape[2]] = output\n"
        "    return outputs",
        "Every number of token 3 is 0",
    ),
    "a cache for one chunk": (
        """
        def prefill_in_chunks(query, key, value, chunk):
            cache_k = cache_v = np.zeros_like(key[:, :, :chunk])
            outputs = []
            for start in range(0, query.shape[2], chunk):
                part = np.s_[:, :, start : start + chunk]
                output, cache_k, cache_v = decode_step(
                    query[part], key[part], value[part], cache_k, cache_v, start
                )
                outputs.append(output)
            return np.concatenate(outputs, axis=2)
        """,
        "6 tokens do not fit into a cache of 3",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source, **GIVEN), sentence)


def test_a_wrong_step_costs_the_prompt_in_chunks_nothing():
    verdict = told(
        STEP + "    output = scaled_dot_product_attention(query, keys, values)\n"
        "    return output, cache_k, cache_v\n"
        + CHUNKS
        + "        output, cache_k, cache_v = decode_step(\n"
        "            query[part], key[part], value[part], cache_k, cache_v, start)\n"
        "        outputs.append(output)\n"
        "    return np.concatenate(outputs, axis=2)",
        **GIVEN,
    )
    assert verdict.points == verdict.max_points
    assert verdict.first == ("decode_step",)


def test_checking_is_quick_even_where_nothing_explains_the_answer():
    source = """
    def decode_step(query, key, value, cache_k, cache_v, past_len):
        output = np.random.default_rng(0).normal(size=query.shape)
        return output, cache_k.copy(), cache_v.copy()
    """
    assert_quick(source, **GIVEN)
