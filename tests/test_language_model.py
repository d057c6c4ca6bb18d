"""Byte-pair merges against tokenizers, prompts against the model's own template."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from telling import assert_told, told

from autograder.specs.language_model import learned
from capstone import fetch
from solutions.language_model import chat_prompt, merge_pairs

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def pieces_of_tokenizers(word, pairs):
    """What Hugging Face's byte-pair encoding makes of a word."""
    from tokenizers import Tokenizer, models

    texts = dict.fromkeys([*"abcdefgh", *(a + b for a, b in pairs)])
    vocabulary = {text: number for number, text in enumerate(texts)}
    model = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    return model.encode(word).tokens


@given(st.integers(0, 10**6), st.text("abc", min_size=1, max_size=20))
def test_pieces_are_those_of_tokenizers(seed, word):
    rng = np.random.default_rng(seed)
    others = ["".join(rng.choice(list("abcd"), 8)) for _ in range(4)]
    ranked = sorted(learned(rng, [word, *others], 15), key=lambda triple: triple[2])
    pairs = [(first, second) for first, second, _ in ranked]
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    assert merge_pairs(list(word), ranks) == pieces_of_tokenizers(word, pairs)


@given(st.integers(0, 10**6), st.lists(st.sampled_from("abc"), max_size=20))
def test_pieces_make_the_word_and_no_two_have_a_rank(seed, symbols):
    rng = np.random.default_rng(seed)
    ranked = learned(rng, ["".join(symbols), "abcabcab"], 12)
    ranks = {(first, second): rank for first, second, rank in ranked}
    before = list(symbols)
    pieces = merge_pairs(symbols, ranks)
    assert "".join(pieces) == "".join(symbols)
    assert not any(pair in ranks for pair in itertools.pairwise(pieces))
    assert symbols == before


def test_the_example_of_the_paper_comes_out():
    # Sennrich et al. 2016, algorithm 1: "low", "lower", "newest" and "widest".
    pairs = [("e", "s"), ("es", "t"), ("est", "</w>"), ("l", "o"), ("lo", "w")]
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    word = [*"lowest", "</w>"]
    assert merge_pairs(word, ranks) == ["low", "est</w>"]


def conversations():
    message = st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant"]),
            "content": st.text(max_size=20),
        }
    )
    return st.lists(message, min_size=1, max_size=6)


# The template in the model's file; the last test of these compares it with the file.
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' "
    "%}{{ '<|im_start|>system\n" + SYSTEM + "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)


@given(conversations())
def test_prompts_are_what_the_models_template_renders(messages):
    # As Transformers sets Jinja up for chat templates.
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = jinja.from_string(TEMPLATE)
    expected = template.render(messages=messages, add_generation_prompt=True)
    assert chat_prompt(messages) == expected


def test_the_template_is_that_of_the_models_file():
    start = fetch.model_path().read_bytes()[: 1 << 23]
    assert TEMPLATE.encode() in start


def test_the_conversation_is_left_as_it_is():
    messages = [{"role": "user", "content": "Hello"}]
    chat_prompt(messages)
    assert messages == [{"role": "user", "content": "Hello"}]


MERGE = """
def merge_pairs(symbols, ranks):
    pieces = list(symbols)
    while True:
        found = [(ranks[p], i) for i, p in enumerate(zip(pieces, pieces[1:]))
                 if p in ranks]
        if not found:
            return pieces
        {}
"""
TELLING = {
    "the last place first": (
        MERGE.format("rank, _ = min(found); i = max(i for r, i in found if r == rank)\n"
                     "        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]"),
        "the last two are joined first",
    ),
    "the second one is lost": (
        MERGE.format("i = min(found)[1]\n"
                     "        del pieces[i + 1]\n"
                     "        found = []\n"
                     "        return pieces"),
        "and the word is",
    ),
    "joined in the wrong order": (
        MERGE.format("i = min(found)[1]\n"
                     "        pieces[i : i + 2] = [pieces[i + 1] + pieces[i]]"),
        "and the word is",
    ),
    "only as often as there are symbols, less one too many": (
        """
        def merge_pairs(symbols, ranks):
            pieces = list(symbols)
            for _ in range(2):
                found = [(ranks[p], i) for i, p in enumerate(zip(pieces, pieces[1:]))
                         if p in ranks]
                if found:
                    i = min(found)[1]
                    pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
            return pieces
        """,
        "are neighbours still, and they have a rank",
    ),
    "the caller's list": (
        MERGE.replace("list(symbols)", "symbols").format(
            "i = min(found)[1]\n"
            "        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]"),
        "Your function changes `symbols`, which belongs to its caller",
    ),
    "a tuple": (
        MERGE.replace("return pieces", "return tuple(pieces)").format(
            "i = min(found)[1]\n"
            "        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]"),
        "gives back a tuple; asked for is a list",
    ),
    "pairs as text": (
        """
        def merge_pairs(symbols, ranks):
            pieces = list(symbols)
            while True:
                found = [(ranks[a + " " + b], a, b) for a, b in zip(pieces, pieces[1:])
                         if a + " " + b in ranks]
                if not found:
                    return pieces
        """,
        "are neighbours still",
    ),
    "the ranks are used up": (
        """
        def merge_pairs(symbols, ranks):
            pieces = list(symbols)
            while True:
                found = [p for p in zip(pieces, pieces[1:]) if p in ranks]
                if not found:
                    return pieces
                best = min(found, key=ranks.get)
                while best in list(zip(pieces, pieces[1:])):
                    i = list(zip(pieces, pieces[1:])).index(best)
                    pieces[i : i + 2] = ["".join(best)]
                ranks.pop(best)
        """,
        "belongs to the caller and must not be changed",
    ),
    "no rank is needed": (
        """
        def merge_pairs(symbols, ranks):
            pieces = list(symbols)
            while len(pieces) > 1:
                pairs = list(zip(pieces, pieces[1:]))
                i = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], 10**9))
                pieces[i : i + 2] = ["".join(pairs[i])]
            return pieces
        """,
        "joined until one piece is left",
    ),
    "im_end on a line of its own": (
        """
        def chat_prompt(messages):
            if messages[0]["role"] != "system":
                messages = [{"role": "system", "content": SYSTEM}, *messages]
            text = "".join("<|im_start|>" + m["role"] + chr(10) + m["content"] + chr(10)
                           + "<|im_end|>" + chr(10) for m in messages)
            return text + "<|im_start|>assistant" + chr(10)
        """,
        "The two texts part after",
    ),
    "another default": (
        """
        def chat_prompt(messages):
            if messages[0]["role"] != "system":
                messages = [{"role": "system",
                             "content": "You are a helpful assistant."}, *messages]
            text = "".join("<|im_start|>" + m["role"] + chr(10) + m["content"]
                           + "<|im_end|>" + chr(10) for m in messages)
            return text + "<|im_start|>assistant" + chr(10)
        """,
        "there comes 'assistant.<|im_end|>",
    ),
    "a full stop after the default": (
        """
        def chat_prompt(messages):
            if messages[0]["role"] != "system":
                messages = [{"role": "system", "content": SYSTEM + "."}, *messages]
            text = "".join("<|im_start|>" + m["role"] + chr(10) + m["content"]
                           + "<|im_end|>" + chr(10) for m in messages)
            return text + "<|im_start|>assistant" + chr(10)
        """,
        "there comes '.<|im_end|>",
    ),
    "put into the caller's list": (
        """
        def chat_prompt(messages):
            if messages[0]["role"] != "system":
                messages.insert(0, {"role": "system", "content": SYSTEM})
            text = "".join("<|im_start|>" + m["role"] + chr(10) + m["content"]
                           + "<|im_end|>" + chr(10) for m in messages)
            return text + "<|im_start|>assistant" + chr(10)
        """,
        "Your function changes `messages`, which belongs to its caller",
    ),
    "backslash n": (
        r"""
        def chat_prompt(messages):
            if messages[0]["role"] != "system":
                messages = [{"role": "system", "content": SYSTEM}, *messages]
            turn = r"<|im_start|>{role}\n{content}<|im_end|>\n"
            text = "".join(turn.format(**m) for m in messages)
            return text + r"<|im_start|>assistant\n"
        """,
        r"there comes '\\nYou",
    ),
    "printed": (
        """
        def chat_prompt(messages):
            for m in messages:
                m["role"] + m["content"]
        """,
        "gives back None",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source, SYSTEM=SYSTEM), sentence)


RIGHT = {
    "a place at a time, by index": MERGE.format(
        "i = min(found)[1]\n        pieces[i] += pieces.pop(i + 1)"
    ),
    "with a heap": """
        import heapq

        def merge_pairs(symbols, ranks):
            pieces = list(symbols)
            while True:
                heap = []
                for i in range(len(pieces) - 1):
                    if (pieces[i], pieces[i + 1]) in ranks:
                        heapq.heappush(heap, (ranks[pieces[i], pieces[i + 1]], i))
                if not heap:
                    return pieces
                _, i = heapq.heappop(heap)
                pieces = pieces[:i] + [pieces[i] + pieces[i + 1]] + pieces[i + 2:]
    """,
    "by a text with marks": """
        import re

        def merge_pairs(symbols, ranks):
            text = "|".join(symbols)
            while True:
                pieces = text.split("|") if symbols else []
                known = [p for p in zip(pieces, pieces[1:]) if p in ranks]
                if not known:
                    return pieces
                a, b = min(known, key=lambda pair: ranks[pair])
                text = re.sub(
                    rf"(?<![^|]){re.escape(a)}\\|{re.escape(b)}(?![^|])", a + b, text
                )
    """,
    "the prompt in a loop": """
        def chat_prompt(messages):
            out = []
            for i, m in enumerate(messages):
                if i == 0 and not m["role"] == "system":
                    out.append("<|im_start|>system" + chr(10) + SYSTEM + "<|im_end|>")
                out.append("<|im_start|>" + m["role"] + chr(10) + m["content"]
                           + "<|im_end|>")
            out.append("<|im_start|>assistant")
            return chr(10).join(out) + chr(10)
    """,
    "the prompt by Jinja": """
        from jinja2 import Template

        def chat_prompt(messages):
            template = Template(TEMPLATE, keep_trailing_newline=True)
            return template.render(messages=messages, add_generation_prompt=True)
    """,
}


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_answer_in_another_style_is_right(case):
    verdict = told(RIGHT[case], SYSTEM=SYSTEM, TEMPLATE=TEMPLATE)
    assert verdict.verdict == "right", verdict.message
