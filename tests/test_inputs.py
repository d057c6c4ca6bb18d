"""Decoder inputs against PyTorch, Transformers, slow loops and what they promise."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from telling import assert_told, told
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.nn.utils.rnn import pad_sequence
from torch.testing import assert_close
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.models.bart.modeling_bart import shift_tokens_right
from transformers.models.marian import modeling_marian

from solutions.inputs import causal_lm_labels, pad_batch, position_ids, shift_right

few = settings(derandomize=True, max_examples=30, deadline=None)
ids = st.integers(0, 9)
sides = st.sampled_from(["right", "left"])
# At least one token somewhere: the references know no batch of width 0.
batches = st.lists(st.lists(ids, max_size=7), min_size=1, max_size=5).filter(any)
masks = arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 8)))
label_batches = arrays(
    np.int64,
    st.tuples(st.integers(1, 5), st.integers(1, 8)),
    elements=st.sampled_from([-100, *range(10)]),
)
SEQUENCES = [[5, 0, 8], [7, 3, 2, 0, 6, 9, 4], [1], [8, 8, 2, 9]]


def tokenizer(pad_token="[PAD]", side="right"):
    """A tokenizer whose token n is called "n"; [PAD] is 0."""
    vocab = {"[PAD]": 0} | {str(n): n for n in range(1, 12)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(vocab, unk_token="[PAD]")),
        pad_token=pad_token,
        padding_side=side,
    )


def assert_same(actual, expected):
    np.testing.assert_array_equal(actual, np.asarray(expected))
    assert actual.shape == np.shape(expected)


def random_logits(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@functools.cache
def tiny_gpt2(vocab_size=11):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocab_size, n_positions=16, n_embd=12, n_layer=2, n_head=3,
        initializer_range=0.5, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return GPT2LMHeadModel(config).double().eval()


# pad_batch


def test_two_sequences_padded_on_both_sides_are_the_arrays_written_by_hand():
    tokens, attention_mask = pad_batch([[5, 6, 7], [8]], pad_id=9)
    assert_same(tokens, [[5, 6, 7], [8, 9, 9]])
    assert_same(attention_mask, [[True, True, True], [True, False, False]])
    tokens, attention_mask = pad_batch([[5, 6, 7], [8]], pad_id=9, side="left")
    assert_same(tokens, [[5, 6, 7], [9, 9, 8]])
    assert_same(attention_mask, [[True, True, True], [False, False, True]])


@few
@given(sequences=batches, pad_id=ids, side=sides)
def test_the_tokens_are_those_of_torchs_pad_sequence(sequences, pad_id, side):
    expected = pad_sequence(
        [torch.tensor(s, dtype=torch.int64) for s in sequences],
        batch_first=True,
        padding_value=pad_id,
        padding_side=side,
    )
    assert_same(pad_batch(sequences, pad_id, side)[0], expected)


@few
@given(sequences=batches, side=sides)
def test_tokens_and_mask_are_those_that_a_tokenizer_pads(sequences, side):
    padded = tokenizer(side=side).pad(
        {"input_ids": sequences}, padding=True, return_tensors="np"
    )
    tokens, attention_mask = pad_batch(sequences, 0, side)
    assert_same(tokens, padded["input_ids"])
    assert_same(attention_mask, padded["attention_mask"].astype(bool))


@few
@given(sequences=batches, pad_id=ids, side=sides)
def test_what_the_mask_calls_real_is_the_sequence_and_the_rest_is_padding(
    sequences, pad_id, side
):
    tokens, attention_mask = pad_batch(sequences, pad_id, side)
    assert tokens.shape == (len(sequences), max(map(len, sequences)))
    for row, real, sequence in zip(tokens, attention_mask, sequences, strict=True):
        assert row[real].tolist() == sequence
        assert (row[~real] == pad_id).all()


@few
@given(sequences=batches, pad_id=ids)
def test_padding_stands_on_one_side_only(sequences, pad_id):
    for side, sign in (("right", -1), ("left", 1)):
        _, attention_mask = pad_batch(sequences, pad_id, side)
        steps = np.diff(attention_mask.astype(int), axis=1)
        assert (steps * sign >= 0).all()


def test_another_side_is_refused_by_its_name():
    with pytest.raises(ValueError, match="'both'"):
        pad_batch([[1]], 0, "both")


# shift_right


@few
@given(labels=label_batches, start_id=ids, pad_id=ids)
def test_shift_right_is_that_of_bart_and_of_marian(labels, start_id, pad_id):
    actual = shift_right(labels, start_id, pad_id)
    for reference in (shift_tokens_right, modeling_marian.shift_tokens_right):
        assert_same(actual, reference(torch.from_numpy(labels), pad_id, start_id))


@pytest.mark.parametrize(("start_id", "pad_id"), [(0, 0), (1, 0), (3, 7)])
def test_shift_right_is_that_of_t5(start_id, pad_id):
    config = T5Config(
        vocab_size=12, d_model=6, d_kv=3, d_ff=5, num_layers=1, num_heads=2,
        decoder_start_token_id=start_id, pad_token_id=pad_id,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    labels = np.array([[4, 9, 1, -100, -100], [5, 2, 8, 3, 1], [-100, 6, 4, 1, -100]])
    expected = model._shift_right(torch.from_numpy(labels))
    assert_same(shift_right(labels, start_id, pad_id), expected)


@few
@given(labels=label_batches, start_id=ids, pad_id=ids, ignore_index=st.integers(-5, 9))
def test_shift_right_is_the_slow_loop(labels, start_id, pad_id, ignore_index):
    expected = np.zeros_like(labels)
    for row, position in np.ndindex(labels.shape):
        before = labels[row, position - 1] if position else start_id
        replaced = position > 0 and before == ignore_index
        expected[row, position] = pad_id if replaced else before
    if start_id != ignore_index:
        assert_same(shift_right(labels, start_id, pad_id, ignore_index), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_that_is_given_only_labels_reads_what_shift_right_makes(dtype):
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=12, d_model=6, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=3, encoder_ffn_dim=5,
        decoder_ffn_dim=7, max_position_embeddings=9,
    )  # fmt: skip
    model = BartForConditionalGeneration(config).to(dtype).eval()
    source = torch.tensor([[0, 4, 7, 5, 2], [0, 9, 3, 8, 2]])
    labels = np.array([[6, 4, 2, -100], [5, 5, 10, 2]])
    shifted = shift_right(labels, config.decoder_start_token_id, config.pad_token_id)
    target = torch.from_numpy(labels)
    alone = model(input_ids=source, labels=target)
    by_hand = model(input_ids=source, decoder_input_ids=torch.from_numpy(shifted))
    assert_close(by_hand.logits, alone.logits)
    loss = F.cross_entropy(by_hand.logits.flatten(0, 1), target.flatten())
    assert_close(loss, alone.loss)


# causal_lm_labels


def test_labels_are_those_of_transformers_collator_where_padding_has_its_own_id():
    collate = DataCollatorForLanguageModeling(tokenizer(), mlm=False)
    sequences = [[5, 3, 8], [7, 3, 2, 4, 6, 9, 4], [1], [8, 8, 2, 9]]
    batch = collate([{"input_ids": sequence} for sequence in sequences])
    tokens, attention_mask = pad_batch(sequences, 0)
    assert_same(tokens, batch["input_ids"])
    assert_same(causal_lm_labels(tokens, attention_mask), batch["labels"])


def test_where_the_end_of_a_text_pads_transformers_collator_ignores_it_and_we_do_not():
    collate = DataCollatorForLanguageModeling(tokenizer(pad_token="2"), mlm=False)
    sequences = [[5, 3, 8, 4, 2], [7, 2]]
    batch = collate([{"input_ids": sequence} for sequence in sequences])
    assert_same(batch["labels"].numpy(), [[5, 3, 8, 4, -100], [7] + [-100] * 4])
    labels = causal_lm_labels(*pad_batch(sequences, 2))
    assert_same(labels, [[5, 3, 8, 4, 2], [7, 2, -100, -100, -100]])


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_are_those_that_the_seq2seq_collator_pads(side):
    collate = DataCollatorForSeq2Seq(tokenizer(side=side), return_tensors="np")
    batch = collate([{"input_ids": s, "labels": list(s)} for s in SEQUENCES])
    labels = causal_lm_labels(*pad_batch(SEQUENCES, 0, side))
    assert_same(labels, batch["labels"])


@few
@given(attention_mask=masks, data=st.data(), ignore_index=st.integers(-5, 9))
def test_labels_are_the_slow_loop(attention_mask, data, ignore_index):
    tokens = data.draw(arrays(np.int64, attention_mask.shape, elements=ids))
    expected = tokens.copy()
    for cell in np.ndindex(tokens.shape):
        if not attention_mask[cell]:
            expected[cell] = ignore_index
    assert_same(causal_lm_labels(tokens, attention_mask, ignore_index), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_of_both_conventions_is_the_mean_over_real_next_tokens(dtype):
    tokens, attention_mask = pad_batch(SEQUENCES, 0)
    batch_size, seq_len = tokens.shape
    logits = random_logits(batch_size, seq_len, 11, dtype=dtype)
    log_p = logits.log_softmax(-1)
    real = [
        -log_p[b, t, tokens[b, t + 1]]
        for b in range(batch_size)
        for t in range(seq_len - 1)
        if attention_mask[b, t + 1]
    ]
    labels = torch.from_numpy(causal_lm_labels(tokens, attention_mask))
    # The loss shifts, as for GPT-2 in Transformers (which computes in float32) ...
    theirs = ForCausalLMLoss(logits, labels, vocab_size=11)
    assert_close(theirs, torch.stack(real).mean().float())
    # ... or the input is shifted and the loss is not, as for T5 and BART.
    unshifted = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert_close(unshifted, torch.stack(real).mean())


def test_gpt2_gives_the_loss_of_its_own_logits_and_our_labels_shifted_once():
    model = tiny_gpt2()
    tokens, attention_mask = pad_batch(SEQUENCES, 0)
    labels = torch.from_numpy(causal_lm_labels(tokens, attention_mask))
    output = model(torch.from_numpy(tokens), labels=labels)
    once = F.cross_entropy(output.logits[:, :-1].transpose(1, 2), labels[:, 1:])
    assert_close(output.loss, once.float())


@few
@given(labels=label_batches, start_id=ids, pad_id=ids)
def test_shifting_the_input_and_cutting_the_batch_give_the_same_pairs(
    labels, start_id, pad_id
):
    # start + labels as one sequence: read all but the last, predict all but the first
    whole = np.pad(labels, ((0, 0), (1, 0)), constant_values=start_id)
    whole = np.where(whole == -100, pad_id, whole)
    assert_same(shift_right(labels, start_id, pad_id), whole[:, :-1])


# position_ids


@few
@given(attention_mask=masks)
def test_position_ids_are_those_that_generate_makes(attention_mask):
    real = torch.from_numpy(attention_mask)
    expected = tiny_gpt2()._prepare_position_ids_for_generation(
        torch.zeros(real.shape), {"attention_mask": real}
    )
    assert_same(position_ids(attention_mask), expected)


@few
@given(attention_mask=masks)
def test_position_ids_are_the_slow_loop(attention_mask):
    expected = np.zeros(attention_mask.shape, dtype=int)
    for row, real in enumerate(attention_mask):
        seen = 0
        for position in range(len(real)):
            if real[position]:
                expected[row, position] = seen
                seen += 1
    assert_same(position_ids(attention_mask), expected)


@pytest.mark.parametrize("side", ["right", "left"])
def test_with_mask_and_position_ids_gpt2_reads_a_padded_row_as_if_it_were_alone(side):
    model = tiny_gpt2()
    tokens, attention_mask = pad_batch(SEQUENCES, 0, side)
    batch = model(
        torch.from_numpy(tokens),
        attention_mask=torch.from_numpy(attention_mask),
        position_ids=torch.from_numpy(position_ids(attention_mask)),
    ).logits
    for row, real, sequence in zip(batch, attention_mask, SEQUENCES, strict=True):
        alone = model(torch.tensor([sequence])).logits[0]
        assert_close(row[torch.from_numpy(real)], alone)


def test_without_position_ids_gpt2_numbers_the_padding_too():
    model = tiny_gpt2()
    tokens, attention_mask = pad_batch([[5, 4, 8], [7, 3]], 0, "left")
    given = {"attention_mask": torch.from_numpy(attention_mask)}
    columns = np.broadcast_to(np.arange(3), tokens.shape)
    default = model(torch.from_numpy(tokens), **given).logits
    by_column = model(
        torch.from_numpy(tokens), position_ids=torch.tensor(columns), **given
    ).logits
    alone = model(torch.tensor([[7, 3]])).logits
    assert_close(default, by_column)
    assert not torch.allclose(default[1, 1:], alone[0], atol=0.1)


# all of them


def test_the_arguments_are_not_modified():
    sequences = [list(sequence) for sequence in SEQUENCES]
    tokens, attention_mask = pad_batch(sequences, 0)
    assert sequences == SEQUENCES
    labels = causal_lm_labels(tokens, attention_mask)
    before = tokens.copy(), attention_mask.copy(), labels.copy()
    shift_right(labels, 1, 0)
    position_ids(attention_mask)
    causal_lm_labels(tokens, attention_mask)
    for array, copy in zip((tokens, attention_mask, labels), before, strict=True):
        assert_same(array, copy)


def test_ids_are_whole_numbers_and_masks_are_bool():
    tokens, attention_mask = pad_batch(SEQUENCES, 0)
    labels = causal_lm_labels(tokens, attention_mask)
    assert attention_mask.dtype == bool
    for array in (tokens, labels, shift_right(labels, 1, 0)):
        assert array.dtype == np.int64
    assert position_ids(attention_mask).dtype.kind == "i"


# What learners are told of mistakes that are in no list


TELLING = {
    "an empty slice of the mask is the whole row": (
        """
        def pad_batch(sequences, pad_id, side="right"):
            length = max(map(len, sequences))
            tokens = np.full((len(sequences), length), pad_id)
            mask = np.zeros(tokens.shape, bool)
            for row, sequence in enumerate(sequences):
                n = len(sequence)
                first = length - n if side == "left" else 0
                tokens[row, first : first + n] = sequence
                if side == "left":
                    mask[row, -n:] = True
                else:
                    mask[row, :n] = True
            return tokens, mask
        """,
        "real; its sequence is []. Wrong for an empty sequence; right for padding on",
    ),
    "0 and 1 for a mask": (
        """
        def pad_batch(sequences, pad_id, side="right"):
            length, rows, real = max(map(len, sequences)), [], []
            for s in sequences:
                n = length - len(s)
                before, after = (0, n) if side == "right" else (n, 0)
                rows.append([pad_id] * before + s + [pad_id] * after)
                real.append([0] * before + [1] * len(s) + [0] * after)
            return np.array(rows), np.array(real)
        """,
        "In `attention_mask`: Your function gives back an array of int64 (0 and 1); a "
        "mask is an array of bool",
    ),
    "the sequences are made longer": (
        """
        def pad_batch(sequences, pad_id, side="right"):
            length = max(map(len, sequences))
            lengths = np.array([len(s) for s in sequences])[:, None]
            for sequence in sequences:
                while len(sequence) < length:
                    sequence.insert(len(sequence) * (side == "right"), pad_id)
            column = np.arange(length)
            return np.array(sequences), (
                column < lengths if side == "right" else column >= length - lengths
            )
        """,
        "Your function changes `sequences`, which belongs to its caller. What it gives "
        "back is right.",
    ),
    "the width of the first sequence": (
        """
        def pad_batch(sequences, pad_id, side="right"):
            length = len(sequences[0])
            tokens = np.full((len(sequences), length), pad_id)
            mask = np.zeros(tokens.shape, bool)
            for row, s in enumerate(sequences):
                s = s[:length]
                first = length - len(s) if side == "left" else 0
                tokens[row, first : first + len(s)] = s
                mask[row, first : first + len(s)] = True
            return tokens, mask
        """,
        "right for sequences of the same length.",
    ),
    "one column too far to the left": (
        """
        def pad_batch(sequences, pad_id, side="right"):
            length = max(map(len, sequences))
            tokens = np.full((len(sequences), length), pad_id)
            mask = np.zeros(tokens.shape, bool)
            for row, s in enumerate(sequences):
                for i, token in enumerate(s):
                    t = i if side == "right" else length - len(s) - 1 + i
                    tokens[row, t], mask[row, t] = token, True
            return tokens, mask
        """,
        "the mask calls",
    ),
    "two mistakes in two parts": (
        """
        def pad_batch(sequences, pad_id, side="right"):
            length = max(map(len, sequences))
            rows = [
                [pad_id] * (length - len(s)) + s
                if side == "right"
                else s + [pad_id] * (length - len(s))
                for s in sequences
            ]
            return np.array(rows), np.array(rows) != pad_id
        """,
        "In `tokens`: The sides have changed places",
    ),
    "start tokens only where the first label counts": (
        """
        def shift_right(labels, start, pad, ignore_index=-100):
            shifted = np.roll(labels, 1, axis=1)
            shifted[:, 0] = ignore_index
            first = (labels != ignore_index).argmax(axis=1)
            shifted[np.arange(len(labels)), first] = start
            return np.where(shifted == ignore_index, pad, shifted)
        """,
        "every row begins with the start token; 4 of 21 numbers are off. Wrong for "
        "ignored labels at the front",
    ),
    "two steps and nothing replaced": (
        """
        def shift_right(labels, start, pad, ignore_index=-100):
            begin = np.full_like(labels[:, :2], start)
            return np.concatenate([begin, labels], axis=1)[:, : labels.shape[1]]
        """,
        "It is no id: the embedding table has no row for it. Two things at once would "
        "explain it. It is shifted twice",
    ),
    "a tensor's method": (
        """
        def shift_right(labels, start, pad, ignore_index=-100):
            shifted = labels.new_zeros(labels.shape)
            shifted[:, 1:] = labels[:, :-1].clone()
            shifted[:, 0] = start
            return shifted.masked_fill(shifted == ignore_index, pad)
        """,
        "That is a method of PyTorch's tensors; this is a NumPy array.",
    ),
    "a number for a column": (
        """
        def shift_right(labels, start, pad, ignore_index=-100):
            shifted = np.concatenate([[start], labels[:, :-1]], axis=1)
            return np.where(shifted == ignore_index, pad, shifted)
        """,
        "Something here has fewer axes than that: print the shapes.",
    ),
    "what is ignored is left out, and the rest moved up": (
        """
        def shift_right(labels, start, pad, ignore_index=-100):
            shifted = np.full_like(labels, pad)
            for row, line in zip(shifted, labels):
                kept = [start, *(y for y in line if y != ignore_index)][: len(line)]
                row[: len(kept)] = kept
            return shifted
        """,
        "the label before it is -100, an ignored one; 9 of 21 numbers are off. Wrong "
        "for ignored labels at the front",
    ),
    "labels shifted in a circle": (
        """
        def causal_lm_labels(tokens, attention_mask, ignore_index=-100):
            return np.roll(np.where(attention_mask, tokens, ignore_index), -1, axis=1)
        """,
        "Everything comes one position too early, and what falls out at one end comes "
        "in at the other.",
    ),
    "labels shifted, and padding counts": (
        """
        def causal_lm_labels(tokens, attention_mask, ignore_index=-100):
            labels = np.full_like(tokens, ignore_index)
            labels[:, :-1] = tokens[:, 1:]
            return labels
        """,
        "Two things at once would explain it. The labels are shifted to the left "
        "already; the loss would shift them again. And: padding counts in the loss",
    ),
    "the mask added, not chosen by": (
        """
        def causal_lm_labels(tokens, attention_mask, ignore_index=-100):
            return tokens + ignore_index * (1 - attention_mask)
        """,
        "In batch row 0 the labels at positions 0, 1, 2, 3, 4, 5, 6, 7 are other than "
        "-100; the real tokens stand at positions 0, 1, 2, 3.",
    ),
    "the tokens overwritten": (
        """
        def causal_lm_labels(tokens, attention_mask, ignore_index=-100):
            tokens[~attention_mask] = ignore_index
            return tokens
        """,
        "Your function changes `tokens`, which belongs to its caller.",
    ),
    "one sequence's mask for all": (
        """
        def causal_lm_labels(tokens, attention_mask, ignore_index=-100):
            return np.where(attention_mask[0], tokens, ignore_index)
        """,
        "Of `attention_mask`, only index 0 of axis 0 is used, for all of them.",
    ),
    "columns from 1": (
        """
        def position_ids(attention_mask):
            columns = np.arange(1, attention_mask.shape[1] + 1)
            return np.where(attention_mask, columns, 0)
        """,
        "Two things at once would explain it. The columns are numbered, and then "
        "padding is set to 0. And: the numbers start at 1.",
    ),
    "a new start after a gap": (
        """
        def position_ids(attention_mask):
            numbers = np.zeros(attention_mask.shape, int)
            for row, real in enumerate(attention_mask):
                for t in range(1, len(real)):
                    follows = real[t] and real[t - 1]
                    numbers[row, t] = numbers[row, t - 1] + 1 if follows else 0
            return numbers
        """,
        "Wrong for padding in the middle; right for padding on the right, padding on "
        "the left",
    ),
    "one row for all": (
        """
        def position_ids(attention_mask):
            return np.arange(attention_mask.shape[1])
        """,
        "The shape of your answer is (7,); asked for is (3, 7).",
    ),
    "padding beyond the table": (
        """
        def position_ids(attention_mask):
            counted = np.cumsum(attention_mask, axis=1) - 1
            return np.where(attention_mask, counted, attention_mask.shape[1])
        """,
        "At batch row 0, position 4 your function gives 7, not 0; there is padding; 9 "
        "of 21 numbers are off.",
    ),
    "the first row's numbers": (
        """
        def position_ids(attention_mask):
            counted = np.cumsum(attention_mask[0]) - 1
            numbers = np.where(attention_mask[0], counted, 0)
            return np.tile(numbers, (len(attention_mask), 1))
        """,
        "Every batch row has the values of batch row 0.",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source), sentence)
