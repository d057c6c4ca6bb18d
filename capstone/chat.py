"""Talk with the model: which token comes next, the stream of text, the conversation."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autograder.answers import COLLECTING
from capstone import fetch, model_file, slots
from capstone.language_model import ContextFull, LanguageModel


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; at temperature 0 it is the most likely one."""

    temperature: float = 0.2
    top_k: int = 0  # 0: no limit
    top_p: float = 0.9
    min_p: float = 0.0


GREEDY = Sampling(temperature=0.0, top_p=1.0)


def pick(
    model: LanguageModel, logits: np.ndarray, how: Sampling, rng: np.random.Generator
) -> int:
    """Draw one token from what is left of the distribution."""
    f = model.f
    logits = f.apply_temperature(logits, how.temperature)
    if how.top_k:
        logits = f.top_k_filter(logits, how.top_k)
    if how.top_p < 1:
        logits = f.top_p_filter(logits, how.top_p)
    if how.min_p:
        logits = f.min_p_filter(logits, how.min_p)
    left = np.flatnonzero(logits > -np.inf)
    if not len(left):
        raise ValueError("nothing is left to draw from")
    weights = f.softmax(logits[left]).astype(np.float64)
    return int(rng.choice(left, p=weights / weights.sum()))


def answer_ids(
    model: LanguageModel,
    ids: list[int],
    how: Sampling,
    rng: np.random.Generator,
    max_new_tokens: int,
) -> Iterator[int]:
    """Continue `ids`, token by token, until the model ends its turn."""
    ids = list(ids)
    end = model.tokenizer.ids[model.file.end]
    for _ in range(max_new_tokens):
        token = pick(model, model.next_logits(ids), how, rng)
        if token == end:
            return
        yield token
        ids.append(token)


def answer(
    model: LanguageModel,
    messages: list[dict[str, str]],
    how: Sampling = GREEDY,
    seed: int = 0,
    max_new_tokens: int = 400,
) -> Iterator[str]:
    """The model's answer to a conversation, as it comes."""
    ids = model.tokenizer.encode(model.f.chat_prompt(messages))
    rng = np.random.default_rng(seed)
    return model.tokenizer.stream(answer_ids(model, ids, how, rng, max_new_tokens))


def load(work: str | Path | None = None, **own: Callable[..., Any]) -> LanguageModel:
    """The real model, with your functions in it.

    They are those of the notebooks in the folder `work`, if one is named, and those
    that are handed over by their names: load(repeat_kv=my_repeat_kv).
    """
    if COLLECTING in os.environ:
        raise fetch.NoModel("The model is not loaded where answers are collected.")
    file = whole(fetch.model_path())
    if work is None:
        return LanguageModel(file, slots.plug(own))
    functions, chosen = slots.from_work(Path(work), own)
    tell(chosen)
    return LanguageModel(file, functions)


@functools.cache
def whole(path: Path) -> model_file.ModelFile:
    """The contents of the model's file: they are read once."""
    return model_file.read(path)


def ask(
    model: LanguageModel,
    question: str,
    how: Sampling = GREEDY,
    *,
    stream: bool = True,
    **more: Any,
) -> str:
    """Ask one question, and print the answer: as it comes, or at its end."""
    parts = answer(model, [{"role": "user", "content": question}], how, **more)
    return show(parts if stream else iter(["".join(parts)]))


def show(parts: Iterator[str]) -> str:
    """Print an answer as it comes; give it back whole."""
    text = ""
    try:
        for part in parts:
            print(part, end="", flush=True)
            text += part
    except ContextFull as full:
        print(f"\n[{full}]", end="")
    except KeyboardInterrupt:
        print(" [stopped]", end="")
    print()
    return text


def add_options(parser: argparse.ArgumentParser) -> None:
    usual = Sampling()
    parser.add_argument("question", nargs="*", help="ask this and leave")
    parser.add_argument(
        "--with",
        dest="work",
        type=Path,
        metavar="work/",
        help="use your own functions, from the notebooks in a folder",
    )
    parser.add_argument("--system", help="a system message in place of the usual one")
    parser.add_argument("--temperature", type=float, default=usual.temperature)
    parser.add_argument("--top-k", type=int, default=usual.top_k)
    parser.add_argument("--top-p", type=float, default=usual.top_p)
    parser.add_argument("--min-p", type=float, default=usual.min_p)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-new-tokens", type=int, default=400)  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Answer one question, or talk until the input ends."""
    how = Sampling(options.temperature, options.top_k, options.top_p, options.min_p)
    if how.temperature < 0 or how.top_k < 0:
        sys.exit("--temperature and --top-k must be 0 or more.")
    if not (0 < how.top_p <= 1 and 0 <= how.min_p <= 1):
        sys.exit("--top-p must be above 0 and at most 1, --min-p from 0 to 1.")
    model = load(options.work)
    messages = []
    if options.system is not None:
        messages.append({"role": "system", "content": options.system})
    once = " ".join(options.question)
    for turn, question in enumerate([once] if once else questions()):
        messages.append({"role": "user", "content": question})
        parts = answer(
            model, messages, how, options.seed + turn, options.max_new_tokens
        )
        messages.append({"role": "assistant", "content": show(parts)})


def questions() -> Iterator[str]:
    """What the user types, line by line, until an empty one."""
    print("Ask something; an empty line ends it.", file=sys.stderr)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not line:
            return
        yield line


def tell(chosen: list[slots.Slot]) -> None:
    """Say whose functions the model is made of."""
    for slot in chosen:
        whose = "yours" if slot.is_own else "given"
        note = f": {slot.note}" if slot.note else ""
        print(
            f"chapter {slot.chapter:2}  {slot.name:28} {whose}{note}", file=sys.stderr
        )
