"""How fast does the real model run on your functions? Beside Transformers, in one run.

    python benchmarks/real_model.py                           # about 15 minutes
    python benchmarks/real_model.py --repeats 1 --tokens 20 --contexts 64 256

Both read the same file, calculate in float32 on the same number of threads, and
continue the same prompt greedily by the same tokens. Each measurement is a process of
its own, and the two take turns. Told are: the seconds from the start of Python to the
first token, tokens a second from there on, the peak of memory, and the time per token
after contexts of several lengths. Of repeated measurements: the median and the range.
"""

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from machine import processor
from tqdm import tqdm

from autograder.course import ROOT

QUESTION = "Write a long story about an owl that learns to count."
Read = Callable[[list[int], int], tuple[list[int], list[float]]]


def ours() -> tuple[Any, Read]:
    """The course's model, and how it continues ids by a number of tokens."""
    import numpy as np

    from capstone.chat import GREEDY, load, pick

    model, rng = load(), np.random.default_rng(0)

    def go_on(ids: list[int], count: int) -> tuple[list[int], list[float]]:
        model.forget()
        tokens, times = [], []
        for _ in range(count):
            tokens.append(pick(model, model.next_logits(ids + tokens), GREEDY, rng))
            times.append(time.perf_counter())
        return tokens, times

    return model.tokenizer, go_on


def transformers() -> tuple[Any, Read]:
    """Transformers' model from the same file, and its own generate."""
    import torch

    from capstone import fetch, reference

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = reference.transformers_model(fetch.model_path())

    class Clock:
        """What generate calls a streamer: it hears of each token, the prompt first."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, value: Any) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            pass

    def go_on(ids: list[int], count: int) -> tuple[list[int], list[float]]:
        clock = Clock()
        tokens = torch.tensor([ids])
        made = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
            max_new_tokens=count, min_new_tokens=count, pad_token_id=2, streamer=clock,
        )  # fmt: skip
        return made[0, len(ids) :].tolist(), clock.times[1:]

    return None, go_on


MAKERS = {"ours": ours, "transformers": transformers}


def child(options: argparse.Namespace) -> None:
    """One measurement, in a process of its own: its result is a line of JSON."""
    job = json.loads(options.child)
    _, go_on = MAKERS[job["who"]]()
    result: dict[str, Any] = {}
    if job["what"] == "speed":
        tokens, times = go_on(job["ids"], 1)
        result["cold_start"] = time.time() - job["started"]
        go_on(job["ids"], 8)  # both have then done everything once
        tokens, times = go_on(job["ids"], job["tokens"])
        result["per_second"] = (len(times) - 1) / (times[-1] - times[0])
        result["tokens"] = tokens
    else:
        result["seconds"] = {}
        for length in job["contexts"]:
            ids = (job["ids"] * (length // len(job["ids"]) + 1))[:length]
            _, times = go_on(ids, job["tokens"])
            steps = [b - a for a, b in itertools.pairwise(times)]
            result["seconds"][length] = statistics.median(steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["peak_mb"] = peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    print(json.dumps(result))


def measure(who: str, what: str, threads: int, **job: Any) -> dict[str, Any]:
    env = os.environ | {
        name: str(threads)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    job |= {"who": who, "what": what, "started": time.time()}
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(job)],
        env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{who}, {what}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float], digits: int = 2) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    from capstone.chat import load

    model = load()
    messages = [{"role": "user", "content": QUESTION}]
    ids = model.tokenizer.encode(model.f.chat_prompt(messages))
    del model
    found: dict[str, list[dict[str, Any]]] = {who: [] for who in MAKERS}
    grown: dict[str, list[dict[str, Any]]] = {who: [] for who in MAKERS}
    steps = [(n, who) for n in range(options.repeats) for who in MAKERS]
    for number, who in tqdm(steps, desc="speed"):
        found[who].append(measure(who, "speed", options.threads, ids=ids,
                                  tokens=options.tokens))  # fmt: skip
        same = found[who][-1]["tokens"] == found["ours"][number]["tokens"]
        assert same, "the two write different texts"
    for _, who in tqdm(steps[: 2 * min(options.repeats, 3)], desc="context"):
        grown[who].append(measure(who, "context", options.threads, ids=ids, tokens=9,
                                  contexts=options.contexts))  # fmt: skip

    def all_of(who: str, key: str) -> list[float]:
        return [one[key] for one in found[who]]

    pairs = zip(all_of("ours", "per_second"), all_of("transformers", "per_second"),
                strict=True)  # fmt: skip
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "threads": options.threads,
        "repeats": options.repeats,
        "tokens": options.tokens,
        "versions": {n: version(n) for n in ("numpy", "torch", "transformers", "gguf")},
        "tokens_per_second": {who: spread(all_of(who, "per_second")) for who in found},
        "times_as_fast": spread([a / b for a, b in pairs]),
        "cold_start_seconds": {who: spread(all_of(who, "cold_start")) for who in found},
        "peak_mb": {who: spread(all_of(who, "peak_mb"), 0) for who in found},
        "milliseconds_per_token": {
            who: {
                str(length): spread([1e3 * g["seconds"][str(length)] for g in runs], 1)
                for length in options.contexts
            }
            for who, runs in grown.items()
        },
    }


def report(record: dict[str, Any]) -> None:
    """The figures in words."""
    for what in ("tokens_per_second", "cold_start_seconds", "peak_mb"):
        for who, value in record[what].items():
            print(f"{what.replace('_', ' '):20} {who:14} {value['median']:8,.2f}"
                  f"   ({value['least']:,.2f} to {value['most']:,.2f})")  # fmt: skip
    times = record["times_as_fast"]
    print(f"tokens a second, ours / Transformers': {times['median']:.2f} "
          f"({times['least']:.2f} to {times['most']:.2f})")  # fmt: skip
    print("milliseconds per token after a context of")
    rows = record["milliseconds_per_token"]
    for length in rows["ours"]:
        both = "   ".join(f"{who} {rows[who][length]['median']:.1f}" for who in rows)
        print(f"  {length:>5} tokens: {both}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--contexts", type=int, nargs="+", default=[64, 256, 1024, 2048, 4096, 8000]
    )
    parser.add_argument("--record", help="write the figures into this JSON file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options)
    record = run(options)
    report(record)
    if options.record:
        with open(options.record, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
