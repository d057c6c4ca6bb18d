"""convert_mask: six APIs run on one mask, and what they make of it is the same."""

import inspect
import itertools
import os
import re
import warnings
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sandboxes import LEVELS
from telling import assert_told, told
from torch import nn
from torch.nn.attention.flex_attention import (
    create_block_mask,
    create_mask,
    flex_attention,
)
from torch.testing import assert_close
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel
from transformers.masking_utils import eager_mask, sdpa_mask
from transformers.models.llama.modeling_llama import eager_attention_forward

from autograder.course import ROOT
from autograder.notebooks import fill, load, write
from autograder.runner.coordinator import grade
from autograder.runner.start import Limits
from solutions.conventions import convert_mask

NAMES = (
    "sdpa", "additive", "transformers_4d", "transformers_2d", "keras",
    "multihead_attention", "flex",
)  # fmt: skip
few = settings(derandomize=True, max_examples=25, deadline=None)
LOWEST = torch.finfo(torch.float32).min


def random(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def random_mask(shape, *, seed=0, alike=False, empty=False):
    """(B, 1, L, S): with every row seeing something, or with one that sees nothing."""
    batch, _, q_len, k_len = shape
    keep = random(batch, 1, 1 if alike else q_len, k_len, seed=seed) > 0
    keep[..., 0] |= ~keep.any(dim=-1)
    if empty:
        keep[0, 0, -1] = False
    return keep.expand(batch, 1, q_len, k_len).clone()


class Attention:
    """The weights of one attention, and the inputs, for all six APIs."""

    def __init__(self, shape, dtype=torch.float32):
        self.shape, self.dtype = shape, dtype
        self.batch, self.n_heads, self.q_len, self.k_len = shape
        self.d_head = 5
        self.d_model = self.n_heads * self.d_head
        self.x = random(self.batch, self.q_len, self.d_model, dtype=dtype)
        self.memory = random(self.batch, self.k_len, self.d_model, seed=1, dtype=dtype)
        size = (3, self.d_model, self.d_model)
        self.w_q, self.w_k, self.w_v = random(*size, seed=2, dtype=dtype) / 2
        self.query = self.split(self.x @ self.w_q)
        self.key = self.split(self.memory @ self.w_k)
        self.value = self.split(self.memory @ self.w_v)

    def split(self, x):
        return x.unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)

    def merge(self, x):
        return x.transpose(1, 2).flatten(2)

    def expected(self, keep):
        """A loop over everything; an empty row gives zeros. (B, L, D)"""
        outputs = torch.zeros_like(self.query)
        for b, h, q in itertools.product(*map(range, self.query.shape[:3])):
            seen = keep[b, 0, q]
            if seen.any():
                scores = self.key[b, h][seen] @ self.query[b, h, q] / self.d_head**0.5
                weights = scores.exp() / scores.exp().sum()
                outputs[b, h, q] = weights @ self.value[b, h][seen]
        return self.merge(outputs)

    def run(self, name, mask, **how):
        with torch.no_grad():
            return getattr(self, name)(mask, **how)

    def sdpa(self, mask):
        output = F.scaled_dot_product_attention(
            self.query, self.key, self.value, attn_mask=mask
        )
        return self.merge(output)

    def additive(self, mask):
        scores = self.query @ self.key.mT / self.d_head**0.5 + mask
        return self.merge(scores.softmax(dim=-1) @ self.value)

    def transformers_4d(self, mask):
        """The attention of Transformers that is written out in Python."""
        module = nn.Module()
        module.num_key_value_groups = 1
        output, _ = eager_attention_forward(
            module, self.query, self.key, self.value, mask, scaling=self.d_head**-0.5
        )
        return output.flatten(2)

    def transformers_2d(self, mask):
        """The mask that a model of Transformers makes of a tokenizer's."""
        made = eager_mask(
            self.batch,
            self.q_len,
            self.k_len,
            mask_function=lambda b, h, q_idx, kv_idx: torch.ones_like(kv_idx).bool(),
            attention_mask=mask.bool(),
            dtype=self.dtype,
        )
        return self.transformers_4d(made)

    def keras(self, mask, **how):
        layer = keras.layers.MultiHeadAttention(
            self.n_heads,
            self.d_head,
            use_bias=False,
            dtype=str(self.dtype).removeprefix("torch."),
        )
        layer.build(self.x.shape, self.memory.shape)
        heads = self.n_heads, self.d_head
        identity = torch.eye(self.d_model, dtype=self.dtype)
        layer.set_weights(
            [
                *(w.unflatten(-1, heads) for w in (self.w_q, self.w_k, self.w_v)),
                identity.unflatten(0, heads),
            ]
        )
        output = layer(self.x, self.memory, attention_mask=mask, **how)
        return output[0] if isinstance(output, tuple) else output

    def multihead_attention(self, mask, *, need_weights=True, key_padding_mask=None):
        layer = nn.MultiheadAttention(
            self.d_model, self.n_heads, bias=False, batch_first=True, dtype=self.dtype
        )
        layer.in_proj_weight.copy_(torch.cat([self.w_q, self.w_k, self.w_v], dim=1).T)
        layer.out_proj.weight.copy_(torch.eye(self.d_model))
        output, _ = layer(
            self.x,
            self.memory,
            self.memory,
            attn_mask=mask,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
        )
        return output

    def flex(self, mask):
        blocks = create_block_mask(mask, *self.shape, device="cpu")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it is not compiled
            output = flex_attention(self.query, self.key, self.value, block_mask=blocks)
        return self.merge(output)


SHAPES = (2, 3, 4, 6), (3, 2, 5, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_six_apis_compute_the_same_from_one_mask(shape, dtype):
    attention = Attention(shape, dtype)
    keep = random_mask(shape)
    expected = attention.expected(keep)
    for name in NAMES:
        if name != "transformers_2d":
            mask = convert_mask(keep, "sdpa", name, shape=shape)
            # of Keras's two ways this one keeps double precision
            how = {"return_attention_scores": True} if name == "keras" else {}
            assert_close(attention.run(name, mask, **how), expected, msg=name)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_six_apis_compute_the_same_from_one_padding_mask(shape):
    attention = Attention(shape)
    keep = random_mask(shape, alike=True)
    for name in NAMES:
        mask = convert_mask(keep, "sdpa", name, shape=shape)
        assert_close(attention.run(name, mask), attention.expected(keep), msg=name)


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_from_each_api_to_each_the_output_is_the_same_where_a_row_sees_something(
    source, target
):
    alike = "transformers_2d" in (source, target)
    for seed, shape in enumerate(SHAPES):
        attention = Attention(shape)
        keep = random_mask(shape, seed=seed, alike=alike, empty=not alike)
        mask = convert_mask(keep, "sdpa", source, shape=shape)
        output = attention.run(target, convert_mask(mask, source, target, shape=shape))
        sees = keep.any(dim=-1)[:, 0]
        assert_close(output[sees], attention.expected(keep)[sees])


def test_a_row_that_sees_nothing_is_zeros_or_nan_or_a_mean_depending_on_the_api():
    shape = 2, 3, 4, 6
    attention = Attention(shape)
    keep = random_mask(shape, empty=True)
    masks = {n: convert_mask(keep, "sdpa", n, shape=shape) for n in NAMES[:3]}
    masks |= {n: convert_mask(keep, "sdpa", n, shape=shape) for n in NAMES[4:]}
    mean = attention.merge(attention.value.mean(dim=2, keepdim=True))[0, 0]
    zeros = torch.zeros_like(mean)
    for name, how, row in (
        ("sdpa", {}, zeros),
        ("flex", {}, zeros),
        ("multihead_attention", {"need_weights": False}, zeros),
        ("multihead_attention", {"need_weights": True}, zeros * torch.nan),
        ("additive", {}, zeros * torch.nan),
        ("transformers_4d", {}, mean),
        ("keras", {}, mean),
        ("keras", {"return_attention_scores": True}, zeros),
    ):
        output = attention.run(name, masks[name], **how)
        assert_close(output[0, -1], row, equal_nan=True, msg=f"{name} {how}")
        assert_close(output[1], attention.expected(keep)[1])


@few
@given(
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    source=st.sampled_from(NAMES),
    target=st.sampled_from(NAMES),
    data=st.data(),
)
def test_there_and_back_again_is_the_mask_itself(shape, source, target, data):
    batch, _, q_len, k_len = shape
    alike = "transformers_2d" in (source, target)
    bits = st.lists(st.booleans(), min_size=batch * k_len * (1 if alike else q_len))
    drawn = torch.tensor(data.draw(bits))[: batch * k_len * (1 if alike else q_len)]
    keep = drawn.view(batch, 1, -1, k_len).expand(batch, 1, q_len, k_len)
    mask = convert_mask(keep, "sdpa", source, shape=shape)
    there = convert_mask(mask, source, target, shape=shape)
    back = convert_mask(there, target, source, shape=shape)
    again = convert_mask(back, source, "sdpa", shape=shape)
    assert torch.equal(again, keep)


def by_hand(keep, name, shape):
    """A mask, cell by cell, by the words of the task."""
    batch, n_heads, q_len, k_len = shape
    cells = list(itertools.product(*map(range, (batch, q_len, k_len))))
    answer = {
        "sdpa": torch.zeros(batch, 1, q_len, k_len, dtype=torch.bool),
        "additive": torch.zeros(batch, 1, q_len, k_len),
        "transformers_4d": torch.zeros(batch, 1, q_len, k_len),
        "transformers_2d": torch.zeros(batch, k_len, dtype=torch.int64),
        "keras": torch.zeros(batch, q_len, k_len, dtype=torch.bool),
        "multihead_attention": torch.zeros(batch * n_heads, q_len, k_len).bool(),
    }[name]
    for b, q, k in cells:
        may = bool(keep[b, 0, q, k])
        if name == "sdpa":
            answer[b, 0, q, k] = may
        elif name == "keras":
            answer[b, q, k] = may
        elif name == "transformers_2d":
            answer[b, k] = int(may)
        elif name == "multihead_attention":
            for h in range(n_heads):
                answer[b * n_heads + h, q, k] = not may
        elif not may:
            answer[b, 0, q, k] = -torch.inf if name == "additive" else LOWEST
    return answer


@pytest.mark.parametrize("name", NAMES[:-1])
def test_every_mask_is_the_one_made_cell_by_cell(name):
    for seed, shape in enumerate([*SHAPES, (1, 4, 3, 2), (4, 1, 1, 3)]):
        alike = name == "transformers_2d"
        keep = random_mask(shape, seed=seed, alike=alike, empty=not alike)
        answer = convert_mask(keep, "sdpa", name, shape=shape)
        assert_close(answer, by_hand(keep, name, shape), rtol=0, atol=0)
        back = convert_mask(by_hand(keep, name, shape), name, "sdpa", shape=shape)
        assert_close(back, keep, rtol=0, atol=0)


def test_pytorchs_create_mask_makes_the_table_of_the_predicate():
    shape = 2, 3, 4, 6
    keep = random_mask(shape, empty=True)
    mask_mod = convert_mask(keep, "sdpa", "flex", shape=shape)
    assert torch.equal(create_mask(mask_mod, *shape, device="cpu"), keep.expand(shape))


def causal_mod(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def test_a_predicate_that_looks_at_no_batch_becomes_a_mask_of_every_batch_row():
    shape = 2, 3, 4, 6
    keep = convert_mask(causal_mod, "flex", "sdpa", shape=shape)
    expected = torch.ones(4, 6).tril().bool().expand(2, 1, 4, 6)
    assert torch.equal(keep, expected)


PADDED = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])


def test_the_4d_mask_is_the_one_that_transformers_makes_of_the_2d_mask():
    shape = 3, 2, 5, 5
    causal = torch.ones(5, 5).tril().bool()
    keep = causal & convert_mask(PADDED, "transformers_2d", "sdpa", shape=shape)
    answer = convert_mask(keep, "sdpa", "transformers_4d", shape=shape)
    made = {"batch_size": 3, "q_length": 5, "kv_length": 5}
    theirs = eager_mask(**made, attention_mask=PADDED.bool())
    assert_close(answer, theirs, rtol=0, atol=0)
    as_bool = sdpa_mask(**made, attention_mask=PADDED.bool())
    assert torch.equal(convert_mask(theirs, "transformers_4d", "sdpa", shape=shape),
                       as_bool)  # fmt: skip


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_bert_reads_its_2d_mask_as_the_4d_mask_that_we_make_of_it(attention):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=11, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=8, max_position_embeddings=8, attn_implementation=attention,
    )  # fmt: skip
    model = BertModel(config).eval()
    tokens = torch.randint(0, 11, (3, 5))
    names = "transformers_2d", "transformers_4d"
    four_d = convert_mask(PADDED, *names, shape=(3, 3, 5, 5))
    with torch.no_grad():
        expected = model(tokens, attention_mask=PADDED).last_hidden_state
        output = model(tokens, attention_mask=four_d).last_hidden_state
        unmasked = model(tokens).last_hidden_state
    assert_close(output, expected)
    assert not torch.allclose(output[1], unmasked[1], atol=1e-3)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_decoder_adds_the_causal_part_to_a_2d_mask_and_nothing_to_a_4d_mask(
    attention,
):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=8, attn_implementation=attention,
    )  # fmt: skip
    model, shape = LlamaModel(config).eval(), (2, 3, 5, 5)
    tokens, padded = torch.randint(0, 11, (2, 5)), PADDED[:2]
    padding = convert_mask(padded, "transformers_2d", "sdpa", shape=shape)
    both = padding & torch.ones(5, 5).tril().bool()
    with torch.no_grad():
        expected = model(tokens, attention_mask=padded).last_hidden_state
        four_d = convert_mask(both, "sdpa", "transformers_4d", shape=shape)
        output = model(tokens, attention_mask=four_d).last_hidden_state
        alone = convert_mask(padding, "sdpa", "transformers_4d", shape=shape)
        leaking = model(tokens, attention_mask=alone).last_hidden_state
    assert_close(output[padded == 1], expected[padded == 1])
    assert not torch.allclose(leaking[0, 0], expected[0, 0], atol=1e-3)


def test_key_padding_mask_is_the_inverted_2d_mask():
    shape = 3, 2, 4, 5
    attention = Attention(shape)
    mask = convert_mask(PADDED, "transformers_2d", "multihead_attention", shape=shape)
    assert_close(
        attention.run("multihead_attention", None, key_padding_mask=PADDED == 0),
        attention.run("multihead_attention", mask),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("source", ["additive", "transformers_4d"])
def test_a_float_mask_of_any_dtype_is_read_by_its_own_lowest_number(dtype, source):
    shape = 2, 3, 4, 6
    keep = random_mask(shape, empty=True)
    for hidden in (torch.finfo(dtype).min, -torch.inf):
        mask = torch.zeros(keep.shape, dtype=dtype).masked_fill(~keep, hidden)
        assert torch.equal(convert_mask(mask, source, "sdpa", shape=shape), keep)


def test_integers_are_read_as_a_mask_of_keras():
    keep = random_mask((2, 3, 4, 6))
    answer = convert_mask(keep[:, 0].int(), "keras", "sdpa", shape=(2, 3, 4, 6))
    assert torch.equal(answer, keep)


ONE_HEAD_DIFFERS = torch.zeros(6, 4, 4, dtype=torch.bool)
ONE_HEAD_DIFFERS[4, 2, 1] = True
CAUSAL = torch.ones(2, 1, 4, 4).tril()
NO_MASK = {
    "a causal mask": (CAUSAL.bool(), "sdpa", "transformers_2d", "every query"),
    "a causal mask in floats": (
        (CAUSAL - 1) * 1e30 * 1e9, "additive", "transformers_2d", "every query",
    ),
    "heads": (ONE_HEAD_DIFFERS, "multihead_attention", "sdpa", "all heads"),
    "heads of a predicate": (
        lambda b, h, q_idx, kv_idx: q_idx - kv_idx <= h, "flex", "keras", "all heads",
    ),
    "ALiBi": (-0.5 * torch.rand(2, 1, 4, 4), "additive", "sdpa", "neither yes nor no"),
    "ones and zeros": (CAUSAL, "additive", "keras", "neither yes nor no"),
    "-1e9": ((CAUSAL - 1) * 1e9, "transformers_4d", "sdpa", "neither yes nor no"),
    "NaN": (CAUSAL * torch.nan, "additive", "sdpa", "neither yes nor no"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_MASK)
def test_what_the_target_cannot_say_is_refused_with_the_reason(case):
    mask, source, target, reason = NO_MASK[case]
    with pytest.raises(ValueError, match=reason):
        convert_mask(mask, source, target, shape=(2, 3, 4, 4))


@pytest.mark.parametrize("source", NAMES[:-1])
@pytest.mark.parametrize("target", NAMES)
def test_the_mask_that_came_in_is_not_modified(source, target):
    shape = 2, 3, 4, 6
    alike = "transformers_2d" in (source, target)
    mask = convert_mask(random_mask(shape, alike=alike), "sdpa", source, shape=shape)
    before = mask.clone()
    convert_mask(mask, source, target, shape=shape)
    assert torch.equal(mask, before)


RIGHT = inspect.getsource(convert_mask)


def with_change(old, new):
    assert RIGHT.count(old) == 1, old
    return RIGHT.replace(old, new)


WRITE_FLEX = "lambda b, h, q_idx, kv_idx: keep[b, 0, q_idx, kv_idx]"
TELLING = {
    "a tensor where a function is due": (
        with_change(f"return {WRITE_FLEX}", "return keep"),
        'gives back a Tensor for "flex"; asked for is a function. Wrong for "flex"',
    ),
    "a score_mod": (
        with_change(
            WRITE_FLEX,
            "lambda b, h, q, k: torch.where(keep[b, 0, q, k], 0.0, -torch.inf)",
        ),
        "a function that answers with a tensor of torch.float32",
    ),
    "a function that answers with a plain bool": (
        with_change(WRITE_FLEX, "lambda b, h, q, k: bool(keep[b, 0, q, k])"),
        "a function that answers with a bool; asked for is a tensor of torch.bool",
    ),
    "batch row and head swapped": (
        with_change(WRITE_FLEX, "lambda b, h, q, k: keep[h, 0, q, k]"),
        "the answer is False. The mask that came in allows to attend there, which "
        '"flex" says by True',
    ),
    "floats for MultiheadAttention": (
        with_change(
            "return ~keep[:, 0].rep",
            "return torch.where(keep[:, 0], 0.0, -torch.inf).rep",
        ),
        "gives back a tensor of float32 (-inf and 0); a mask is a tensor of bool",
    ),
    "as many copies as batch rows": (
        with_change("repeat_interleave(n_heads", "repeat_interleave(batch"),
        "right for all else that was tried",
    ),
    "a bool where an int is due": (
        with_change("return keep[:, 0, 0].long()", "return keep[:, 0, 0]"),
        "gives back a tensor of bool; asked for is a tensor of int64",
    ),
    "the 2-D mask keeps its axes": (
        with_change("return keep[:, 0, 0].long()", "return keep[:, :, :1].long()"),
        "asked for is (",
    ),
    "a decoder's 2-D mask": (
        with_change(
            "keep = mask[:, None, None, :] == 1",
            "keep = (mask[:, None, None] & torch.ones(q_len, k_len).tril().long()) > 0",
        ),
        'by True. Wrong for "transformers_2d" as the source',
    ),
    "-10000": (
        with_change("-torch.inf if target", "-1e4 if target"),
        'forbids to attend there, which "additive" says by -inf',
    ),
    "bfloat16": (
        with_change(", lowest)", ", lowest).bfloat16()"),
        "a tensor of a kind that is not asked for: torch.bfloat16",
    ),
    "an array of NumPy's": (
        with_change("return keep[:, 0]\n", "return keep[:, 0].numpy()\n"),
        "an array of NumPy's; asked for is a tensor. Wrong for \"keras\"",
    ),
    "NumPy's method": (
        with_change(".long()", ".astype(int)"),
        "That is a method of NumPy's arrays; this is a PyTorch tensor",
    ),
    "one minus a bool": (
        with_change("~keep[:, 0].rep", "(1 - keep[:, 0]).rep"),
        "PyTorch does not subtract booleans",
    ),
    "integers of Keras's are left as they are": (
        with_change("keep = mask[:, None] == 1", "keep = mask[:, None]"),
        "a tensor of int64 (0 and 1); a mask is a tensor of bool, True or False. Wrong "
        "for integers from Keras",
    ),
    "the lowest number is no hidden key": (
        with_change("mask <= torch.finfo", "mask < torch.finfo"),
        "stops with ValueError: a float mask holds a number that is neither yes nor no"
        '. Wrong for "transformers_4d" as the source',
    ),
    "nothing is refused": (
        re.sub(r"raise ValueError\(.*\)", "pass", RIGHT),
        "For a causal mask in 2-D your function gives back a tensor of int64; asked "
        "for is a ValueError",
    ),
    "None in place of an error": (
        re.sub(r"raise ValueError\(.*\)", "return None", RIGHT),
        "For a causal mask in 2-D your function gives back None; asked for is a "
        "ValueError",
    ),
    "an assert in place of an error": (
        re.sub(r"raise ValueError\(.*\)", "raise AssertionError", RIGHT),
        "stops with AssertionError; asked for is a ValueError",
    ),
    "inverted in place": (
        with_change("~mask.reshape(shape)", "mask.logical_not_().reshape(shape)"),
        "Your function changes `mask`, which belongs to its caller",
    ),
    "all heads are kept": (
        with_change("keep[:, :1].expand(batch, 1,", "keep.expand(batch, -1,"),
        "copied along axes that should have length 1",
    ),
    "the same float mask for both": (
        with_change('-torch.inf if target == "additive" else torch', "torch"),
        "What is hidden gets the lowest number in the mask for \"additive\", too",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(f"\n{source}", torch=torch, Any=Any), sentence)


HEADS_FIRST = with_change("repeat_interleave(n_heads, dim=0)", "repeat(n_heads, 1, 1)")
UNREFUSED = re.sub(r"raise ValueError\(.*\)", "pass", RIGHT)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("answer", "points", "message"),
    [
        (RIGHT, 5, "Right."),
        (HEADS_FIRST, 0, 'For "multihead_attention" the heads come first'),
        (UNREFUSED, 0, "For a causal mask in 2-D your function gives back"),
    ],
)
def test_tensors_functions_and_refusals_reach_the_judge_from_a_graded_notebook(
    tmp_path, level, answer, points, message
):
    name = "17_conventions"
    release = load(ROOT / "exercises" / "release" / name / f"{name}.ipynb")
    path = tmp_path / f"{name}.ipynb"
    write(fill(release, {"convert_mask": answer}), path)
    submission = grade(path, secret="1", limits=Limits(sandbox=level))
    assert (submission.status, submission.points) == ("graded", points)
    [verdict] = submission.verdicts
    assert verdict.message.startswith(message)
