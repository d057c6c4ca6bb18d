"""Embeddings against PyTorch, a tied GPT-2, finite differences and slow loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from telling import assert_told, told
from torch import nn
from torch.autograd import gradcheck
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel

from solutions.embeddings import embed, embedding_gradient, tied_logits

few = settings(derandomize=True, max_examples=30, deadline=None)
kinds = pytest.mark.parametrize("kind", [np.float32, np.float64])
VOCAB, D_MODEL = 7, 5
token_arrays = arrays(
    np.int64,
    array_shapes(min_dims=1, max_dims=3, max_side=6),
    elements=st.integers(0, VOCAB - 1),
)
padding = st.none() | st.integers(0, VOCAB - 1)


def normal(*shape, seed=0, kind=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(kind)


def tensor(array):
    return torch.from_numpy(array)


def assert_same(actual, expected):
    """Exactly the same numbers, shape and dtype."""
    np.testing.assert_array_equal(actual, np.asarray(expected), strict=True)


# embed


def test_rows_come_out_as_written_by_hand():
    table = np.array([[0.5, 1.0], [10.0, 11.0], [20.0, 21.0]])
    by_hand = [[[20.0, 21.0], [0.5, 1.0]], [[20.0, 21.0], [20.0, 21.0]]]
    assert_same(embed(np.array([[2, 0], [2, 2]]), table), by_hand)


@kinds
@few
@given(tokens=token_arrays)
def test_embed_is_torchs_embedding(kind, tokens):
    table = normal(VOCAB, D_MODEL, kind=kind)
    assert_same(embed(tokens, table), F.embedding(tensor(tokens), tensor(table)))


@few
@given(tokens=token_arrays)
def test_a_lookup_is_the_product_of_one_hot_rows_and_the_table(tokens):
    table = normal(VOCAB, D_MODEL)
    one_hot = F.one_hot(tensor(tokens), VOCAB).double()
    assert_same(embed(tokens, table), one_hot @ tensor(table))


@few
@given(tokens=token_arrays, seed=st.integers(0, 9))
def test_renumbering_the_tokens_and_the_rows_alike_changes_nothing(tokens, seed):
    table = normal(VOCAB, D_MODEL)
    order = np.random.default_rng(seed).permutation(VOCAB)
    new_ids = np.argsort(order)  # old token t is the row of the new table new_ids[t]
    assert_same(embed(new_ids[tokens], table[order]), embed(tokens, table))


def test_a_looked_up_row_is_a_copy():
    table = normal(VOCAB, D_MODEL)
    rows = embed(np.array([1, 2]), table)
    rows[:] = 0
    assert_same(table, normal(VOCAB, D_MODEL))


# embedding_gradient


@kinds
@few
@given(tokens=token_arrays, padding_idx=padding)
def test_the_gradient_is_that_of_torchs_autograd(kind, tokens, padding_idx):
    table = tensor(normal(VOCAB, D_MODEL, kind=kind)).requires_grad_()
    grad = normal(*tokens.shape, D_MODEL, seed=1, kind=kind)
    looked_up = F.embedding(tensor(tokens), table, padding_idx=padding_idx)
    looked_up.backward(tensor(grad))
    actual = embedding_gradient(tokens, grad, VOCAB, padding_idx)
    assert actual.dtype == kind
    assert_close(tensor(actual), table.grad)


@pytest.mark.parametrize("padding_idx", [None, 0, 3])
def test_the_gradient_is_that_of_nn_embedding(padding_idx):
    tokens = np.array([[3, 0, 6, 3], [0, 0, 5, 1]])
    layer = nn.Embedding(VOCAB, D_MODEL, padding_idx, dtype=torch.float64)
    grad = normal(2, 4, D_MODEL)
    layer(tensor(tokens)).backward(tensor(grad))
    actual = embedding_gradient(tokens, grad, VOCAB, padding_idx)
    assert_close(tensor(actual), layer.weight.grad)


class Lookup(torch.autograd.Function):
    """Our lookup and our gradient of it, for gradcheck."""

    @staticmethod
    def forward(ctx, table, tokens):
        ctx.tokens, ctx.vocab_size = tokens, len(table)
        return tensor(embed(tokens, table.detach().numpy()))

    @staticmethod
    def backward(ctx, grad):
        table_grad = embedding_gradient(ctx.tokens, grad.numpy(), ctx.vocab_size)
        return tensor(table_grad), None


def test_finite_differences_of_the_lookup_agree_with_its_gradient():
    table = tensor(normal(6, 3)).requires_grad_()
    tokens = np.array([[2, 0, 2, 5], [2, 1, 0, 5]])
    assert gradcheck(lambda table: Lookup.apply(table, tokens), table)


@few
@given(tokens=token_arrays, padding_idx=padding)
def test_the_gradient_is_the_slow_loop(tokens, padding_idx):
    grad = normal(*tokens.shape, D_MODEL)
    expected = np.zeros((VOCAB, D_MODEL))
    for place in np.ndindex(tokens.shape):
        if tokens[place] != padding_idx:
            expected[tokens[place]] += grad[place]
    actual = embedding_gradient(tokens, grad, VOCAB, padding_idx)
    np.testing.assert_allclose(actual, expected, atol=1e-12, strict=True)


@few
@given(tokens=token_arrays)
def test_lookup_and_gradient_are_adjoint(tokens):
    """<lookup(table), grad> = <table, gradient(grad)>, whatever the two are."""
    table, grad = normal(VOCAB, D_MODEL), normal(*tokens.shape, D_MODEL, seed=1)
    ahead = (embed(tokens, table) * grad).sum()
    back = (table * embedding_gradient(tokens, grad, VOCAB)).sum()
    np.testing.assert_allclose(ahead, back)


@few
@given(tokens=token_arrays, padding_idx=padding)
def test_just_the_tokens_that_occur_get_a_gradient(tokens, padding_idx):
    grad = np.ones((*tokens.shape, D_MODEL))
    touched = embedding_gradient(tokens, grad, VOCAB, padding_idx).any(axis=1)
    assert set(np.flatnonzero(touched)) == set(tokens.flat) - {padding_idx}


# tied_logits


@kinds
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 4)])
def test_logits_are_torchs_linear_layer_with_the_table_as_its_weight(kind, shape):
    hidden = normal(*shape, D_MODEL, kind=kind)
    table = normal(VOCAB, D_MODEL, seed=1, kind=kind)
    actual = tied_logits(hidden, table)
    assert actual.dtype == kind
    assert_close(tensor(actual), F.linear(tensor(hidden), tensor(table)))


def test_every_logit_is_a_dot_product():
    hidden, table = normal(2, 3, D_MODEL), normal(VOCAB, D_MODEL, seed=1)
    expected = np.zeros((2, 3, VOCAB))
    for row, position, token in np.ndindex(2, 3, VOCAB):
        for column in range(D_MODEL):
            product = hidden[row, position, column] * table[token, column]
            expected[row, position, token] += product
    np.testing.assert_allclose(tied_logits(hidden, table), expected, strict=True)


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=23, n_embd=12, n_layer=2, n_head=3, n_positions=9,
        tie_word_embeddings=True,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def test_logits_are_those_of_a_tied_gpt2(gpt2):
    tokens = np.array([[3, 22, 0, 7, 3], [1, 1, 9, 4, 20]])
    with torch.no_grad():
        output = gpt2(tensor(tokens), output_hidden_states=True)
    table = gpt2.transformer.wte.weight.detach().numpy()
    hidden = output.hidden_states[-1].numpy()
    assert_close(tensor(tied_logits(hidden, table)), output.logits)


def test_a_tied_gpt2_has_one_table_and_no_bias(gpt2):
    """What the test above rests on."""
    assert gpt2.lm_head.weight is gpt2.transformer.wte.weight
    assert gpt2.lm_head.bias is None


def test_a_table_used_at_both_ends_gets_the_sum_of_two_gradients():
    tokens, targets = np.array([[4, 1, 4]]), torch.tensor([1, 4, 2])
    table = tensor(normal(VOCAB, D_MODEL)).requires_grad_()
    hidden = F.embedding(tensor(tokens), table, padding_idx=1)
    hidden.retain_grad()
    logits = F.linear(hidden, table)
    F.cross_entropy(logits[0], targets).backward()

    looked_up = embed(tokens, table.detach().numpy())
    scores = tensor(tied_logits(looked_up, table.detach().numpy()))[0]
    error = (scores.softmax(-1) - F.one_hot(targets, VOCAB)) / len(targets)
    by_output = error.T @ tensor(looked_up)[0]
    by_lookup = embedding_gradient(tokens, hidden.grad.numpy(), VOCAB, padding_idx=1)
    assert_close(table.grad, by_output + tensor(by_lookup))
    assert table.grad[1].any()  # padding_idx does not keep the output's part away


@pytest.mark.parametrize("function", [embed, embedding_gradient, tied_logits])
def test_arguments_are_not_modified(function):
    tokens, rows = np.array([[0, 2, 2], [3, 0, 1]]), normal(2, 3, 4)
    arguments = {
        embed: (tokens, normal(6, 4)),
        embedding_gradient: (tokens, rows, 6, 0),
        tied_logits: (rows, normal(6, 4)),
    }[function]
    before = [np.copy(argument) for argument in arguments]
    function(*arguments)
    for argument, copy in zip(arguments, before, strict=True):
        assert_same(argument, copy)


# What learners are told of mistakes that are in no list

TELLING = {
    "a loop over two axes": (
        """
        def embed(tokens, table):
            B, T = tokens.shape
            rows = np.zeros((B, T, table.shape[1]))
            for b in range(B):
                for t in range(T):
                    rows[b, t] = table[tokens[b, t]]
            return rows
        """,
        "Wrong for a single sequence and tokens with three axes; right for",
    ),
    "the last row never used": (
        "def embed(t, table): return table[np.minimum(t, len(table) - 2)]",
        "the token is 8, and there stands row 7 of the table",
    ),
    "scaled, and padding at 0": (
        """
        def embed(tokens, table):
            rows = table[tokens] * table.shape[1] ** 0.5
            rows[tokens == 0] = 0
            return rows
        """,
        "The rows are multiplied by the square root of D. And: token 0 gets zeros",
    ),
    "the table zeroed in place": (
        """
        def embed(tokens, table):
            table[0] = 0
            return table[tokens]
        """,
        "Your function changes `table`, which belongs to its caller",
    ),
    "a table from another cell": (
        "def embed(tokens, weights): return table[tokens]",
        "What a function works on comes in by its parameters",
    ),
    "rows in reverse": (
        "def embed(tokens, table): return table[len(table) - 1 - tokens]",
        "right for `table` read backwards along axis 0",
    ),
    "two mistakes with += and if": (
        """
        def embedding_gradient(tokens, grad, vocab_size, padding_idx=None):
            table_grad = np.zeros((vocab_size, grad.shape[-1]))
            table_grad[tokens] += grad
            if padding_idx:
                table_grad[padding_idx] = 0
            return table_grad
        """,
        "only its last gradient counts. And: a `padding_idx` of 0 is taken for none",
    ),
    "the last position forgotten": (
        """
        def embedding_gradient(tokens, grad, vocab_size, padding_idx=None):
            table_grad = np.zeros((vocab_size, grad.shape[-1]))
            rows = grad.reshape(-1, grad.shape[-1])
            for token, row in zip(tokens.flat[:-1], rows):
                if token != padding_idx:
                    table_grad[token] += row
            return table_grad
        """,
        "; token 7 occurs 3 times; 4 of 36 numbers are off",
    ),
    "the column padding_idx": (
        """
        def embedding_gradient(tokens, grad, vocab_size, padding_idx=None):
            table_grad = np.zeros((vocab_size, grad.shape[-1]))
            np.add.at(table_grad, tokens, grad)
            if padding_idx is not None:
                table_grad[:, padding_idx] = 0
            return table_grad
        """,
        "Every number of column 0 is 0. Wrong for a padding_idx of 0",
    ),
    "a step, not a gradient": (
        """
        def embedding_gradient(tokens, grad, vocab_size, padding_idx=None):
            table_grad = np.zeros((vocab_size, grad.shape[-1]))
            np.subtract.at(table_grad, tokens, grad)
            if padding_idx is not None:
                table_grad[padding_idx] = 0
            return table_grad
        """,
        "The answer is the right one times -1",
    ),
    "the last row cleared for padding": (
        """
        def embedding_gradient(tokens, grad, vocab_size, padding_idx=None):
            table_grad = np.zeros((vocab_size, grad.shape[-1]))
            np.add.at(table_grad, tokens, grad)
            if padding_idx is not None:
                table_grad[-1] = 0
            return table_grad
        """,
        "; token 0 is padding_idx; ",
    ),
    "padding cleared in the caller's array": (
        """
        def embedding_gradient(tokens, grad, vocab_size, padding_idx=None):
            table_grad = np.zeros((vocab_size, grad.shape[-1]))
            if padding_idx is not None:
                grad[tokens == padding_idx] = 0
            np.add.at(table_grad, tokens, grad)
            return table_grad
        """,
        "changes `grad`, which belongs to its caller. What it gives back is right",
    ),
    "padding_idx from another cell": (
        """
        def embedding_gradient(tokens, grad, vocab_size, pad=None):
            table_grad = np.zeros((vocab_size, grad.shape[-1]))
            np.add.at(table_grad, tokens, grad)
            table_grad[padding_idx] = 0
            return table_grad
        """,
        "name 'padding_idx' is not defined",
    ),
    "a copy of the table, taken once": (
        """
        COPIES = {}
        def tied_logits(hidden, table):
            return hidden @ COPIES.setdefault(table.shape, table.copy()).T
        """,
        "the right answer to another call, tied_logits(float64 of shape",
    ),
    "a root and a softmax": (
        """
        def tied_logits(hidden, table):
            exp = np.exp(hidden @ table.T / table.shape[1] ** 0.5)
            return exp / exp.sum(-1, keepdims=True)
        """,
        "divided by the square root of D. And: a softmax has made probabilities",
    ),
    "rows of the table for positions": (
        "def tied_logits(hidden, table): return table @ np.swapaxes(hidden, -1, -2)",
        "The answer is transposed: position and token have changed places",
    ),
    "a root of the vocabulary": (
        "def tied_logits(h, table): return h @ table.T / len(table) ** 0.5",
        "the right one times 1 / the square root of V",
    ),
    "the next token's row": (
        "def tied_logits(h, table): return h @ np.roll(table, -1, axis=0).T",
        "Everything comes one token too early",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source), sentence)
