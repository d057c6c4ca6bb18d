"""Sampling against Transformers, PyTorch, slow searches and what they promise."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from telling import assert_quick, assert_told, told
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from solutions import attention, numerics
from solutions.attention import softmax
from solutions.numerics import log_sum_exp
from solutions.sampling import (
    apply_temperature,
    beam_search,
    min_p_filter,
    perplexity,
    top_k_filter,
    top_p_filter,
)

few = settings(derandomize=True, max_examples=30, deadline=None)
seeds = st.integers(0, 10**6)
both_widths = pytest.mark.parametrize("dtype", [np.float32, np.float64])
FILTERS: list[Any] = [(top_k_filter, 3), (top_p_filter, 0.7), (min_p_filter, 0.2)]
each_filter = pytest.mark.parametrize(("cut", "value"), FILTERS)


def some_logits(*shape: int, seed=0, dtype: Any = np.float64):
    return (2 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def warped(warper: Any, logits):
    """What a class of Transformers makes of logits (N, V)."""
    return warper(None, torch.from_numpy(logits))


def kept(logits):
    return logits != -np.inf


# Temperature and filters against the classes of Transformers


@both_widths
@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_apply_temperature_is_that_of_transformers(temperature, dtype):
    logits = some_logits(5, 7, dtype=dtype)
    expected = warped(TemperatureLogitsWarper(temperature), logits)
    assert_close(torch.from_numpy(apply_temperature(logits, temperature)), expected)


@both_widths
@pytest.mark.parametrize("k", [1, 2, 5, 7, 50])
def test_top_k_filter_is_that_of_transformers(k, dtype):
    logits = some_logits(6, 7, dtype=dtype)
    logits[0] = np.round(logits[0])  # equal ones, too
    logits[1] = 1.5
    expected = warped(TopKLogitsWarper(k), logits)
    assert_close(torch.from_numpy(top_k_filter(logits, k)), expected)


@few
@given(seed=seeds, p=st.floats(0.01, 0.99))
def test_top_p_filter_is_that_of_transformers(seed, p):
    for dtype in (np.float32, np.float64):
        logits = some_logits(6, 9, seed=seed, dtype=dtype)
        expected = warped(TopPLogitsWarper(p), logits)
        assert_close(torch.from_numpy(top_p_filter(logits, p)), expected)


@few
@given(seed=seeds, min_p=st.floats(0, 1))
def test_min_p_filter_is_that_of_transformers(seed, min_p):
    for dtype in (np.float32, np.float64):
        logits = some_logits(6, 9, seed=seed, dtype=dtype)
        expected = warped(MinPLogitsWarper(min_p), logits)
        assert_close(torch.from_numpy(min_p_filter(logits, min_p)), expected)


def test_filters_one_after_the_other_are_the_chain_of_transformers():
    logits = some_logits(6, 20)
    chain = TopKLogitsWarper(8), TopPLogitsWarper(0.8), MinPLogitsWarper(0.1)
    expected = warped(TemperatureLogitsWarper(1.5), logits)
    for warper in chain:
        expected = warped(warper, expected.numpy())
    ours = top_p_filter(top_k_filter(apply_temperature(logits, 1.5), 8), 0.8)
    assert_close(torch.from_numpy(min_p_filter(ours, 0.1)), expected)


# What temperature promises


def test_temperature_0_leaves_the_first_of_the_largest():
    logits = np.array([[1.0, 3.0, 3.0], [2.0, -1.0, 0.0]])
    inf = np.inf
    expected = [[-inf, 3.0, -inf], [2.0, -inf, -inf]]
    np.testing.assert_array_equal(apply_temperature(logits, 0), expected)


@both_widths
def test_temperature_0_is_what_low_temperatures_come_to(dtype):
    logits = some_logits(4, 6, dtype=dtype)
    low = softmax(apply_temperature(logits, 0.01))
    np.testing.assert_allclose(softmax(apply_temperature(logits, 0)), low, atol=1e-6)


@few
@given(seed=seeds)
def test_entropy_grows_with_the_temperature(seed):
    logits = some_logits(8, seed=seed)
    entropies = []
    for temperature in (0.2, 0.5, 1.0, 2.0, 5.0):
        weights = softmax(apply_temperature(logits, temperature))
        entropies.append(-(weights * np.log(weights)).sum())
    assert entropies == sorted(entropies)


def test_a_temperature_raises_probabilities_to_a_power():
    logits = some_logits(3, 6)
    powers = softmax(logits) ** (1 / 1.7)
    expected = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(softmax(apply_temperature(logits, 1.7)), expected)


# What filters promise


@each_filter
@both_widths
@pytest.mark.parametrize("shape", [(9,), (4, 9), (2, 3, 9)])
def test_a_filter_changes_nothing_that_it_keeps(cut, value, shape, dtype):
    logits = some_logits(*shape, dtype=dtype)
    answer = cut(logits, value)
    assert answer.dtype == dtype
    assert kept(answer).any(axis=-1).all()
    np.testing.assert_array_equal(answer[kept(answer)], logits[kept(answer)])


@each_filter
def test_what_is_kept_is_more_probable_than_what_is_not(cut, value):
    for row in some_logits(20, 9):
        left = kept(cut(row, value))
        assert row[left].min() > max(row[~left], default=-np.inf)


@each_filter
def test_a_filter_follows_its_tokens_wherever_they_stand(cut, value):
    logits = some_logits(4, 9)
    order = np.random.default_rng(1).permutation(9)
    np.testing.assert_array_equal(
        cut(logits[:, order], value), cut(logits, value)[:, order]
    )


@each_filter
def test_a_filter_does_not_see_a_shift_of_all_logits(cut, value):
    logits = some_logits(4, 9)
    np.testing.assert_array_equal(
        kept(cut(logits + 1000, value)), kept(cut(logits, value))
    )


@few
@given(seed=seeds, p=st.floats(0.05, 0.95))
def test_no_smaller_set_of_tokens_reaches_p(seed, p):
    row = some_logits(7, seed=seed)
    weights = softmax(row)
    size = min(
        len(some)
        for count in range(1, 8)
        for some in itertools.combinations(range(7), count)
        if weights[list(some)].sum() >= p
    )
    left = kept(top_p_filter(row, p))
    assert left.sum() == size
    assert weights[left].sum() >= p


def test_a_filter_that_keeps_all_is_no_filter():
    logits = some_logits(4, 9)
    for answer in (
        top_k_filter(logits, 9),
        top_k_filter(logits, 1000),
        top_p_filter(logits, 1.0),
        min_p_filter(logits, 0.0),
    ):
        np.testing.assert_array_equal(answer, logits)


def test_the_strictest_filters_leave_what_temperature_0_leaves():
    logits = some_logits(4, 9)
    best = apply_temperature(logits, 0)
    for answer in (
        top_k_filter(logits, 1),
        top_p_filter(logits, 1e-9),
        min_p_filter(logits, 1.0),
    ):
        np.testing.assert_array_equal(answer, best)


def test_top_k_and_min_p_change_nothing_a_second_time_and_top_p_may():
    logits = some_logits(40, 9)
    for cut, value in (FILTERS[0], FILTERS[2]):
        once = cut(logits, value)
        np.testing.assert_array_equal(cut(once, value), once)
    once = top_p_filter(logits, 0.7)
    assert kept(top_p_filter(once, 0.7)).sum() < kept(once).sum()


def test_only_top_k_does_not_see_the_temperature():
    logits = some_logits(40, 9)
    for cut, value in FILTERS:
        first = kept(cut(apply_temperature(logits, 2.0), value))
        last = kept(cut(logits, value))
        assert np.array_equal(first, last) == (cut is top_k_filter)


def test_a_temperature_is_a_power_of_min_p():
    logits = some_logits(40, 9)
    hot = kept(min_p_filter(apply_temperature(logits, 2.0), 0.3))
    np.testing.assert_array_equal(hot, kept(min_p_filter(logits, 0.3**2.0)))


@pytest.mark.parametrize(
    ("cut", "value"),
    [
        (apply_temperature, -1),
        (top_k_filter, 0),
        (top_p_filter, 0),
        (top_p_filter, 1.5),
        (min_p_filter, -0.1),
        (min_p_filter, 2),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_number(cut, value):
    with pytest.raises(ValueError, match=str(value)):
        cut(some_logits(5), value)


# Perplexity


@few
@given(seed=seeds, ignore_index=st.sampled_from([-100, 0, 3, 6]))
def test_perplexity_is_exp_of_torchs_cross_entropy(seed, ignore_index):
    rng = np.random.default_rng(seed)
    logits = some_logits(2, 5, 7, seed=seed)
    targets = rng.integers(0, 7, (2, 5))
    targets[rng.random((2, 5)) < 0.3] = ignore_index
    targets[0, 0] = (ignore_index + 1) % 7
    loss = F.cross_entropy(
        torch.from_numpy(logits).flatten(0, 1),
        torch.from_numpy(targets).flatten(),
        ignore_index=ignore_index,
    )
    expected = torch.exp(loss).item()
    assert_close(perplexity(logits, targets, ignore_index), expected)


def test_perplexity_is_the_slow_loop():
    logits, targets = some_logits(3, 4, 6), np.array([[1, 0, 5, 2]] * 3)
    targets[1, 2:] = -100
    product, count = 1.0, 0
    for place in np.ndindex(targets.shape):
        if targets[place] != -100:
            exp = np.exp(logits[place])
            product *= exp[targets[place]] / exp.sum()
            count += 1
    assert_close(perplexity(logits, targets), product ** (-1 / count))


def test_equal_logits_have_the_perplexity_of_their_number():
    assert_close(perplexity(np.full((4, 13), 2.5), np.arange(4)), 13.0)


def test_no_perplexity_is_below_1_and_a_sure_model_comes_near():
    targets = np.array([2, 0, 1])
    assert perplexity(50 * np.eye(3)[targets], targets) == pytest.approx(1)
    assert perplexity(some_logits(3, 3), targets) > 1


def test_what_is_ignored_may_have_any_logits():
    logits, targets = some_logits(2, 4, 6), np.array([[1, 0, -100, 2]] * 2)
    changed = logits.copy()
    changed[:, 2] = 1e300
    assert perplexity(logits, targets) == perplexity(changed, targets)


@both_widths
def test_perplexity_of_large_logits_is_a_number(dtype):
    logits = some_logits(4, 6, dtype=dtype)
    targets = np.array([0, 1, 5, 2])
    shifted = perplexity(logits + dtype(1000), targets)
    assert shifted == pytest.approx(perplexity(logits, targets), rel=1e-3)


# Beam search


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other cost more than so small a model does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spiky_model(seed):
    """A small random GPT-2 that is seldom in doubt, so that searches differ."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=7, n_positions=12, n_embd=16, n_layer=1, n_head=2,
        initializer_range=0.6,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def step_of(model):
    @torch.no_grad()
    def step(ids):
        logits = model(torch.tensor([ids])).logits[0, -1]
        return torch.log_softmax(logits, dim=-1).double().numpy()

    return step


def generate(model, beam_size, max_len, length_penalty, early_stopping: Any = "never"):
    answer = model.generate(
        torch.tensor([[1]]), attention_mask=torch.ones(1, 1), do_sample=False,
        num_beams=beam_size, max_new_tokens=max_len, length_penalty=length_penalty,
        early_stopping=early_stopping, eos_token_id=4, pad_token_id=0,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    return answer.sequences[0].tolist(), answer.sequences_scores[0].item()


@pytest.mark.parametrize(
    ("beam_size", "length_penalty"),
    [(2, 0.0), (2, 1.0), (2, 2.0), (3, 0.6), (3, 1.0), (4, 2.0), (4, -1.0)],
)
def test_beam_search_is_generate_of_transformers(beam_size, length_penalty):
    for seed in range(2):
        model = spiky_model(seed)
        ids, score = beam_search(step_of(model), 1, 4, beam_size, 6, length_penalty)
        expected, expected_score = generate(model, beam_size, 6, length_penalty)
        assert ids == expected
        assert score == pytest.approx(expected_score, rel=1e-5)


def test_generate_may_stop_too_early_where_it_guesses():
    """Why the tests above say early_stopping="never": it is not the default."""
    found = [
        (
            generate(spiky_model(seed), 2, 6, 2.0),
            generate(spiky_model(seed), 2, 6, 2.0, e),
        )
        for seed in range(6)
        for e in (False, True)
    ]
    assert all(never[1] >= early[1] - 1e-6 for never, early in found)
    assert any(never[0] != early[0] for never, early in found)


def table_step(seed, v=4, places=6):
    """A step whose log-probabilities depend on how many ids there are and the last."""
    logits = some_logits(places, v, v, seed=seed)
    table = logits - log_sum_exp(logits)[..., None]
    return lambda ids: table[len(ids) - 1, ids[-1]]


def all_finished(v, start_id, end_id, max_len):
    """Every sequence that is finished, one by one."""
    inner = [i for i in range(v) if i != end_id]
    for count in range(1, max_len + 1):
        for ids in itertools.product(inner, repeat=count - 1):
            lasts = range(v) if count == max_len else [end_id]
            yield from ([start_id, *ids, last] for last in lasts)


def score_of(step, ids, length_penalty):
    total = sum(step(ids[:i])[ids[i]] for i in range(1, len(ids)))
    return total / (len(ids) - 1) ** length_penalty


@few
@given(seed=seeds, length_penalty=st.sampled_from([-0.5, 0.0, 0.6, 1.0, 2.0]))
def test_a_beam_that_holds_everything_finds_the_best_sequence(seed, length_penalty):
    step = table_step(seed)
    ids, score = beam_search(step, 0, 2, 4**4, 4, length_penalty)
    scores = {
        tuple(s): score_of(step, s, length_penalty) for s in all_finished(4, 0, 2, 4)
    }
    assert tuple(ids) == max(scores, key=scores.__getitem__)
    assert score == pytest.approx(scores[tuple(ids)])


@few
@given(seed=seeds, beam_size=st.integers(1, 5))
def test_what_is_found_is_finished_and_has_the_score_that_is_said(seed, beam_size):
    step = table_step(seed)
    ids, score = beam_search(step, 1, 1, beam_size, 4)
    assert ids in list(all_finished(4, 1, 1, 4))
    assert score == pytest.approx(score_of(step, ids, 1.0))
    assert all(type(i) is int for i in ids)
    assert type(score) is float


@few
@given(seed=seeds)
def test_a_beam_of_one_without_length_penalty_is_greedy_search(seed):
    step = table_step(seed)
    greedy = [0]
    while len(greedy) < 6 and (len(greedy) == 1 or greedy[-1] != 2):
        greedy.append(int(step(greedy).argmax()))
    assert beam_search(step, 0, 2, 1, 5, 0.0)[0] == greedy


def test_the_step_is_asked_once_for_each_beginning():
    asked = []

    def step(ids):
        asked.append(tuple(ids))
        return np.log([0.5, 0.3, 0.2])

    beam_search(step, 0, 2, 2, 3)
    assert len(asked) == len(set(asked)) == 1 + 2 + 2


# What learners are told of mistakes that are in no list

GIVEN = {**vars(attention), **vars(numerics)}
AT_ZERO = """
    best = np.arange(logits.shape[-1]) == logits.argmax(axis=-1)[..., None]
    if temperature == 0:
        return np.where(best, logits, -np.inf)
"""
NUCLEUS = """
def top_p_filter(logits, p):
    order = np.argsort(-logits, axis=-1)
    weights = np.take_along_axis(softmax(logits), order, axis=-1)
    kept = np.empty(logits.shape, bool)
"""
COUNTED = """
def perplexity(logits, targets, ignore_index=-100):
    counts = targets != ignore_index
    logits, targets = logits[counts], targets[counts]
    losses = log_sum_exp(logits) - logits[np.arange(len(targets)), targets]
"""


def search(
    total="total + log_prob", best="max(aside, key=score)", over="len(ids) > max_len",
    kept="[:beam_size]", back="best[0], score(best)", start="0.0", where="ids[-1]",
):  # fmt: skip
    """A beam search as it may be written, with something else in one place."""
    return f"""
def beam_search(step, start_id, end_id, beam_size, max_len, length_penalty=1.0):
    def finished(ids):
        return {where} == end_id or {over}

    def score(beam):
        return beam[1] / (len(beam[0]) - 1) ** length_penalty

    beams, aside = [([start_id], {start})], []
    while beams:
        longer = []
        for ids, total in beams:
            for i, log_prob in enumerate(step(ids)):
                longer.append((ids + [i], {total}))
        longer.sort(key=lambda beam: beam[1], reverse=True)
        aside += [beam for beam in longer[:beam_size] if finished(beam[0])]
        beams = [beam for beam in longer if not finished(beam[0])]{kept}
    best = {best}
    return {back}
"""


TELLING = {
    "a floor under the temperature": (
        "def apply_temperature(logits, temperature):\n"
        "    return logits / max(temperature, 0.01)",
        "not -inf",
    ),
    "the id in place of the logits": (
        "def apply_temperature(logits, temperature):\n"
        "    if temperature == 0:\n"
        "        return logits.argmax(axis=-1)\n"
        "    return logits / temperature",
        "Your function gives back an array of int64",
    ),
    "in place": (
        f"def apply_temperature(logits, temperature):{AT_ZERO}"
        "    logits /= temperature\n"
        "    return logits",
        "Your function changes `logits`, which belongs to its caller",
    ),
    "whole numbers": (
        f"def apply_temperature(logits, temperature):{AT_ZERO}"
        "    return logits // temperature",
        "Wrong for a single row, a temperature above 1",
    ),
    "a path without a return": (
        "def apply_temperature(logits, temperature):\n"
        "    if temperature:\n"
        "        return logits / temperature",
        "does every path end in a return",
    ),
    "the largest along the first axis": (
        "def apply_temperature(logits, temperature):\n"
        "    if temperature == 0:\n"
        "        best = logits.max(axis=0, keepdims=True)\n"
        "        return np.where(logits == best, logits, -np.inf)\n"
        "    return logits / temperature",
        "right for a single row, a temperature above 1",
    ),
    "ids alone": (
        "def top_k_filter(logits, k): return np.argsort(-logits)[..., :k]",
        "Your function gives back an array of int64",
    ),
    "a k above V": (
        "def top_k_filter(logits, k):\n"
        "    least = np.sort(logits)[..., -k, None]\n"
        "    return np.where(logits >= least, logits, -np.inf)",
        "Wrong for k above the number of tokens",
    ),
    "the threshold of row 0": (
        "def top_k_filter(logits, k):\n"
        "    least = np.sort(logits)[..., -min(k, logits.shape[-1]), None]\n"
        "    return np.where(logits >= least.flat[0], logits, -np.inf)",
        "Kept of position 1: no token. To be kept: tokens",
    ),
    "sizes, not values": (
        "def top_k_filter(logits, k):\n"
        "    size = abs(logits)\n"
        "    least = np.sort(size)[..., -min(k, logits.shape[-1]), None]\n"
        "    return np.where(size >= least, logits, -np.inf)",
        "Kept: tokens 0, 2, 4. To be kept: tokens 1, 3, 5",
    ),
    "nan for what is dropped": (
        "def top_k_filter(logits, k):\n"
        "    least = np.sort(logits)[..., -min(k, logits.shape[-1]), None]\n"
        "    return np.where(logits >= least, logits, np.nan)",
        "numbers are NaN, the first at token",
    ),
    "the order as its own inverse": (
        NUCLEUS + "    kept = np.take_along_axis(\n"
        "        weights.cumsum(-1) - weights < p, order, -1\n"
        "    )\n"
        "    return np.where(kept, logits, -np.inf)",
        "right for p of 1",
    ),
    "a sum over the rows": (
        NUCLEUS + "    before = weights.cumsum(axis=0) - weights\n"
        "    np.put_along_axis(kept, order, before < p, axis=-1)\n"
        "    return np.where(kept, logits, -np.inf)",
        "No logit of position 0 is -inf",
    ),
    "a sum over the whole array": (
        NUCLEUS + "    before = weights.cumsum().reshape(weights.shape) - weights\n"
        "    np.put_along_axis(kept, order, before < p, axis=-1)\n"
        "    return np.where(kept, logits, -np.inf)",
        "Kept of position 1: no token",
    ),
    "nothing sorted": (
        "def top_p_filter(logits, p):\n"
        "    weights = softmax(logits)\n"
        "    before = weights.cumsum(-1) - weights\n"
        "    return np.where(before < p, logits, -np.inf)",
        "Kept: tokens 0, 1, 2, 3. To be kept: tokens",
    ),
    "exponentials that are no probabilities": (
        NUCLEUS + "    weights = np.take_along_axis(np.exp(logits), order, axis=-1)\n"
        "    before = weights.cumsum(axis=-1) - weights\n"
        "    np.put_along_axis(kept, order, before < p, axis=-1)\n"
        "    return np.where(kept, logits, -np.inf)",
        "should be",
    ),
    "two at once": (
        NUCLEUS
        + "    np.put_along_axis(kept, order, weights.cumsum(-1) < p, axis=-1)\n"
        "    return np.where(kept, logits, 0)",
        "Two things at once would explain it. The token with which the sum reaches p",
    ),
    "another logarithm": (
        "def min_p_filter(logits, min_p):\n"
        "    with np.errstate(divide='ignore'):\n"
        "        least = logits.max(-1, keepdims=True) + np.log2(min_p)\n"
        "    return np.where(logits >= least, logits, -np.inf)",
        "right for min_p of 1 and min_p of 0",
    ),
    "the best token of row 0": (
        "def min_p_filter(logits, min_p):\n"
        "    weights = softmax(logits)\n"
        "    best = weights.reshape(-1, weights.shape[-1])[0].max()\n"
        "    return np.where(weights >= min_p * best, logits, -np.inf)",
        "Wrong for another distribution in every row; right for a single row",
    ),
    "no axis kept": (
        "def min_p_filter(logits, min_p):\n"
        "    weights = softmax(logits)\n"
        "    return np.where(weights >= min_p * weights.max(-1), logits, -np.inf)",
        "does one need a new axis",
    ),
    "a softmax over the rows": (
        "def min_p_filter(logits, min_p):\n"
        "    weights = softmax(logits, axis=0)\n"
        "    best = weights.max(-1, keepdims=True)\n"
        "    return np.where(weights >= min_p * best, logits, -np.inf)",
        "right for a single row and min_p of 0",
    ),
    "probabilities among -inf": (
        "def min_p_filter(logits, min_p):\n"
        "    weights = softmax(logits)\n"
        "    best = weights.max(-1, keepdims=True)\n"
        "    return np.where(weights >= min_p * best, weights, -np.inf)",
        "your function gives 0.23, not",
    ),
    "a median": (
        COUNTED + "    return float(np.exp(np.median(losses)))",
        "right for equal logits",
    ),
    "one number of each target": (
        COUNTED + "    return np.exp(losses)",
        "Your function gives back an array of float64; asked for is a float",
    ),
    "rounded": (
        COUNTED + "    return round(float(np.exp(losses.mean())), 2)",
        "The numbers are rounded to 2 decimals. Your number is off by",
    ),
    "one too few": (
        COUNTED + "    return float(np.expm1(losses.mean()))",
        "The answer is the right one plus -1",
    ),
    "the best token in place of the target": (
        "def perplexity(logits, targets, ignore_index=-100):\n"
        "    logits = logits[targets != ignore_index]\n"
        "    losses = log_sum_exp(logits) - logits.max(axis=-1)\n"
        "    return float(np.exp(losses.mean()))",
        "Your function gives 2.64",
    ),
    "a little something under the logarithm": (
        "def perplexity(logits, targets, ignore_index=-100):\n"
        "    counts = targets != ignore_index\n"
        "    weights = softmax(logits[counts])\n"
        "    right = weights[np.arange(counts.sum()), targets[counts]]\n"
        "    return float(np.exp(-np.log(right + 1e-3).mean()))",
        "not 13.09",
    ),
    "a tuple of ids": (
        search(back="tuple(best[0]), score(best)"),
        "In `ids`: Your function gives back a tuple; asked for is a list",
    ),
    "ids without the start": (
        search(back="best[0][1:], score(best)"),
        "In `ids`: The first item is missing",
    ),
    "the last log-probability alone": (
        search(total="log_prob"),
        "right for a max_len of 1",
    ),
    "a product of probabilities": (
        search(total="total * np.exp(log_prob)", start="1.0"),
        "The score is made of probabilities: their product is divided",
    ),
    "one id too many": (
        search(over="len(ids) > max_len + 1"),
        "6 ids follow the start; max_len is 5",
    ),
    "a beam that is one too wide": (
        search(kept="[:beam_size + 1]"),
        "more than that of",
    ),
    "the worst of the finished": (
        search(best="min(aside, key=score)"),
        "less than that of",
    ),
    "the last of the finished": (
        search(best="aside[-1]"),
        "less than that of",
    ),
    "a penalty that is subtracted": (
        search(back="best[0], best[1] - length_penalty * (len(best[0]) - 1)"),
        "The log-probabilities of [",
    ),
    "ids without the end": (
        search(back="[i for i in best[0] if i != end_id], score(best)"),
        "are not finished: they neither end with",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told("\n" + source, **GIVEN), sentence)


def test_the_search_of_these_tests_is_right_where_nothing_is_changed():
    assert told("\n" + search()).points == 3


def test_checking_is_quick_even_where_nothing_explains_the_answer():
    sources = [
        "def top_p_filter(logits, p): return np.random.default_rng(0).normal("
        "size=logits.shape)",
        search(best="aside[len(aside) // 2]"),
    ]
    for source in sources:
        assert_quick("\n" + source, **GIVEN)
