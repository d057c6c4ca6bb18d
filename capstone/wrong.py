"""What one wrong function does to the model: what it says, and how much it foresees.

    python -m capstone wrong                    print a table: a few minutes
    python -m capstone wrong --only repeat_kv   one slot alone
    python -m capstone wrong --record           and write it down for chapter 14

Every row puts one wrong function into one slot; the others are right. The model reads a
paragraph token by token, as it does when it writes, and answers a question.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograder.course import ROOT
from capstone.chat import Sampling, answer, load
from capstone.language_model import LanguageModel
from solutions import (
    attention,
    blocks,
    cache,
    heads,
    language_model,
    masks,
    relative_positions,
)  # fmt: skip

RECORD = ROOT / "benchmarks" / "wrong_functions.json"
PARAGRAPH = (
    "Barn owls hunt at night. They fly slowly over open fields and listen. An owl "
    "hears a mouse under the snow before it sees it, because its ears sit at different "
    "heights: a sound reaches one of them a little earlier than the other. When the "
    "owl has found the mouse, it drops, and the mouse hears nothing, since the edges "
    "of an owl's feathers are soft and break the air without a noise."
)
QUESTION = "What is the capital of France, and what is it known for?"
TOKENS = 32
GREEDY = Sampling(temperature=0.0, top_p=1.0)
DRAWN = {  # how the answer is drawn where the slot is a sampler
    "apply_temperature": Sampling(temperature=0.2, top_p=1.0),
    "top_k_filter": Sampling(temperature=1.0, top_k=50, top_p=1.0),
    "top_p_filter": Sampling(temperature=1.0, top_p=0.9),
    "min_p_filter": Sampling(temperature=1.0, top_p=1.0, min_p=0.1),
}


@dataclass(frozen=True)
class Wrong:
    """One wrong function for one slot."""

    slot: str
    what: str
    function: Callable[..., Any]


def wrong_functions() -> Iterator[Wrong]:
    """Mistakes that the specs know, as plain as they can be written."""
    rope = relative_positions.apply_rope
    past = cache.decode_step

    def embed_scaled(tokens, table):
        return table[tokens] * np.float32(table.shape[1] ** 0.5)

    def logits_scaled(hidden, table):
        return hidden @ table.T / np.float32(table.shape[1] ** 0.5)

    def no_exponential(x, axis=-1):
        x = np.where(np.isinf(x), 0, np.maximum(x, 0)) + 1e-9
        return x / x.sum(axis=axis, keepdims=True)

    def no_scale(query, key):
        return query @ key.swapaxes(-1, -2)

    def scale_of_the_model(query, key):
        return attention.attention_scores(query, key) / np.float32(3)  # 576 = 9 * 64

    def without_mask(query, key, value, attn_mask=None):
        return attention.scaled_dot_product_attention(query, key, value)

    def zeros_for_the_mask(query, key, value, attn_mask=None):
        scores = attention.attention_scores(query, key)
        scores = scores if attn_mask is None else np.where(attn_mask, scores, 0)
        return attention.softmax(scores) @ value

    def see_all(q_len, k_len):
        return np.ones((q_len, k_len), bool)

    def see_the_next(q_len, k_len):
        return np.tri(q_len, k_len, k=k_len - q_len + 1, dtype=bool)

    def not_oneself(q_len, k_len):
        mask = np.tri(q_len, k_len, k=k_len - q_len - 1, dtype=bool)
        mask[:, 0] = True
        return mask

    def top_left(q_len, k_len):
        return np.tri(q_len, k_len, dtype=bool)

    def cut_by_reshape(x, n_heads):
        batch, seq_len, d_model = x.shape
        return x.reshape(batch, n_heads, seq_len, d_model // n_heads)

    def every_nth_number(x, n_heads):
        batch, seq_len, _ = x.shape
        return x.reshape(batch, seq_len, -1, n_heads).transpose(0, 3, 1, 2)

    def merged_every_nth(x):
        batch, n_heads, seq_len, d_head = x.shape
        return x.transpose(0, 2, 3, 1).reshape(batch, seq_len, n_heads * d_head)

    def tiled(x, n_rep):
        return np.tile(x, (1, n_rep, 1, 1))

    def first_head_for_all(x, n_rep):
        return np.repeat(x[:, :1], n_rep * x.shape[1], axis=1)

    def usual_base(d_head, base=10000.0):
        return relative_positions.rope_frequencies(d_head)

    def all_turn_alike(d_head, base=10000.0):
        return np.ones(d_head // 2)

    def halves(x, positions, inv_freq, layout="interleaved"):
        return rope(x, positions, inv_freq, "half")

    def unturned(x, positions, inv_freq, layout="interleaved"):
        return x

    def turned_back(x, positions, inv_freq, layout="interleaved"):
        return rope(x, -positions, inv_freq, layout)

    def unnormed(x, weight, eps=1e-5):
        return x * weight

    def with_the_mean_taken_out(x, weight, eps=1e-5):
        return blocks.layer_norm(x, weight, np.zeros_like(weight), eps)

    def without_weight(x, weight, eps=1e-5):
        return blocks.rms_norm(x, np.ones_like(weight), eps)

    def epsilon(size):
        return lambda x, weight, eps=1e-5: blocks.rms_norm(x, weight, size)

    def gate_and_up_swapped(x, w_gate, w_up, w_down):
        return blocks.swiglu(x, w_up, w_gate, w_down)

    def relu(x, w_gate, w_up, w_down):
        return np.maximum(x @ w_gate, 0) * (x @ w_up) @ w_down

    def without_gate(x, w_gate, w_up, w_down):
        return x @ w_up @ w_down

    def always_first(stored, new, start):
        return cache.update_cache(stored, new, 0)

    def never(stored, new, start):
        return cache.update_cache(stored, new, start) if start == 0 else stored

    def restart(past_len, new_len):
        return np.arange(new_len)

    def from_one(past_len, new_len):
        return np.arange(past_len, past_len + new_len) + 1

    def backwards(past_len, new_len):
        return -np.arange(past_len, past_len + new_len)

    def forgets(query, key, value, cache_k, cache_v, past_len):
        n_rep = query.shape[1] // key.shape[1]
        seen = masks.causal_mask(query.shape[2], query.shape[2])
        keys, values = heads.repeat_kv(key, n_rep), heads.repeat_kv(value, n_rep)
        out = attention.scaled_dot_product_attention(query, keys, values, seen)
        return out, *past(query, key, value, cache_k, cache_v, past_len)[1:]

    def multiplied(logits, temperature):
        return logits * np.float32(temperature)

    def smallest_k(logits, k):
        return np.where(logits <= np.sort(logits)[k], logits, -np.inf)

    def without_the_crossing(logits, p):
        order = np.argsort(-logits)
        total = attention.softmax(logits)[order].cumsum()
        kept = np.full_like(logits, -np.inf)
        inside = order[total < p]
        kept[inside] = logits[inside]
        return kept

    def below_min_p(logits, min_p):
        weights = attention.softmax(logits)
        kept = weights < min_p * weights.max()
        return np.where(kept, logits, -np.inf).astype(logits.dtype)

    def leftmost(symbols, ranks):
        pieces = symbols[:1]
        for symbol in symbols[1:]:
            if (pieces[-1], symbol) in ranks:
                pieces[-1] += symbol
            else:
                pieces.append(symbol)
        return pieces

    def bytes_alone(symbols, ranks):
        return list(symbols)

    right = language_model.chat_prompt

    def without_system(messages):
        return right([{"role": "system", "content": ""}, *messages]).split("\n", 2)[2]

    def unopened(messages):
        return right(messages).removesuffix("<|im_start|>assistant\n")

    def plain_text(messages):
        return messages[-1]["content"]

    yield from (
        Wrong("embed", "times the root of D", embed_scaled),
        Wrong("tied_logits", "divided by the root of D", logits_scaled),
        Wrong("softmax", "no exponential", no_exponential),
        Wrong("attention_scores", "no scale", no_scale),
        Wrong("attention_scores", "the root of D, not of K", scale_of_the_model),
        Wrong("scaled_dot_product_attention", "no mask", without_mask),
        Wrong("scaled_dot_product_attention", "masked scores are 0",
              zeros_for_the_mask),
        Wrong("causal_mask", "sees everything", see_all),
        Wrong("causal_mask", "sees the next token too", see_the_next),
        Wrong("causal_mask", "does not see itself", not_oneself),
        Wrong("causal_mask", "triangle at the top left", top_left),
        Wrong("split_heads", "reshape alone", cut_by_reshape),
        Wrong("split_heads", "every ninth number", every_nth_number),
        Wrong("merge_heads", "heads interleaved", merged_every_nth),
        Wrong("repeat_kv", "wrong order (np.tile)", tiled),
        Wrong("repeat_kv", "head 0 for all", first_head_for_all),
        Wrong("rope_frequencies", "base 10,000", usual_base),
        Wrong("rope_frequencies", "all pairs turn alike", all_turn_alike),
        Wrong("apply_rope", "the other layout", halves),
        Wrong("apply_rope", "no rotation", unturned),
        Wrong("apply_rope", "turned the other way", turned_back),
        Wrong("rms_norm", "no norm, only the weight", unnormed),
        Wrong("rms_norm", "mean taken out (LayerNorm)", with_the_mean_taken_out),
        Wrong("rms_norm", "no weight", without_weight),
        Wrong("rms_norm", "epsilon 1e-6", epsilon(1e-6)),
        Wrong("rms_norm", "epsilon 0.1", epsilon(0.1)),
        Wrong("swiglu", "gate and up swapped", gate_and_up_swapped),
        Wrong("swiglu", "ReLU for SiLU", relu),
        Wrong("swiglu", "no gate", without_gate),
        Wrong("update_cache", "always at position 0", always_first),
        Wrong("update_cache", "only the first time", never),
        Wrong("cache_positions", "restart at 0", restart),
        Wrong("cache_positions", "count from 1", from_one),
        Wrong("cache_positions", "count backwards", backwards),
        Wrong("decode_step", "forgets what is cached", forgets),
        Wrong("apply_temperature", "multiplies", multiplied),
        Wrong("top_k_filter", "keeps the smallest", smallest_k),
        Wrong("top_p_filter", "drops the crossing token", without_the_crossing),
        Wrong("min_p_filter", "keeps what is below", below_min_p),
        Wrong("merge_pairs", "from left to right", leftmost),
        Wrong("merge_pairs", "no pair is joined", bytes_alone),
        Wrong("chat_prompt", "no system message", without_system),
        Wrong("chat_prompt", "the turn is not opened", unopened),
        Wrong("chat_prompt", "only the question", plain_text),
    )  # fmt: skip


def perplexity(model: LanguageModel, words: int, piece: int) -> float | None:
    """The exponential of what the paragraph costs for each of its `words` tokens.

    It is read `piece` tokens at a time. Where it is cut into other tokens than it
    should be, the cost is still shared by as many.
    """
    ids = model.tokenizer.encode(PARAGRAPH)
    model.forget()
    starts = range(0, len(ids) - 1, piece)
    logits = [model.read(ids[:-1][start : start + piece]) for start in starts]
    each = model.f.perplexity(np.concatenate(logits), np.array(ids[1:]))
    cost = np.log(each) * (len(ids) - 1) / (words - 1)
    return float(np.exp(min(cost, 99))) if np.isfinite(each) else None


def says(model: LanguageModel, slot: str) -> str:
    """The answer to the question; drawn by chance where the slot is a sampler."""
    model.forget()
    how = DRAWN.get(slot, GREEDY)
    messages = [{"role": "user", "content": QUESTION}]
    try:
        with np.errstate(all="ignore"):
            return "".join(answer(model, messages, how, 1, TOKENS))
    except ValueError as error:
        return f"[{error}]"


def row(slot: str, what: str, model: LanguageModel, words: int) -> dict[str, Any]:
    with np.errstate(all="ignore"):
        return {
            "slot": slot,
            "what": what,
            "at_once": perplexity(model, words, 1000),
            "one_by_one": perplexity(model, words, 1),
            "says": says(model, slot),
        }


def show(found: dict[str, Any]) -> None:
    said = " ".join(found["says"].split())[:60]
    both = (found["at_once"], found["one_by_one"])
    numbers = " ".join("      none" if n is None else f"{n:10.3g}" for n in both)
    print(f"{found['slot']:28} {found['what']:30} {numbers}  {said}", flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="SLOT", help="only this slot")
    parser.add_argument(
        "--record",
        action="store_true",
        help=f"write {RECORD.name}, which chapter 14 shows",
    )


def run(options: argparse.Namespace) -> None:
    """Put every wrong function into the model, one after the other."""
    model = load()
    words = len(model.tokenizer.encode(PARAGRAPH))
    rows = [row("", "all right", model, words)]
    rows.append({
        **rows[0], "what": "all right, drawn", "says": says(model, "top_p_filter"),
    })  # fmt: skip
    for found in rows:
        show(found)
    for wrong in wrong_functions():
        if options.only in (None, wrong.slot):
            model = load(None, **{wrong.slot: wrong.function})
            rows.append(row(wrong.slot, wrong.what, model, words))
            show(rows[-1])
    if options.record:
        record = {"paragraph": PARAGRAPH, "question": QUESTION, "tokens": words}
        text = json.dumps({**record, "rows": rows}, indent=1, ensure_ascii=False)
        RECORD.write_text(text + "\n", "utf-8")
        print(f"recorded in {RECORD}")
