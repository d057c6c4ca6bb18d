"""Make a class: submissions of chapter 6 as learners hand them in, or attack with them.

    python benchmarks/submissions.py exercises/submitted 100

A few answers to each of four functions, right and wrong, in all combinations, give
more different notebooks than a class has students.
"""

import argparse
import inspect
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autograder.course import ROOT
from autograder.notebooks import fill, load, write
from solutions import masks

ASSIGNMENT = "06_masks"
RELEASE = ROOT / "exercises" / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"

CRASH = "import os\nos._exit(1)"

# Each is the body of the function; None stands for the stub.
ANSWERS: dict[str, list[str | None]] = {
    "causal_mask(q_len, k_len)": [
        "return np.tril(np.ones((q_len, k_len), dtype=bool), k_len - q_len)",
        "return np.arange(k_len) <= np.arange(q_len)[:, None] + k_len - q_len",
        "return np.tri(q_len, k_len, dtype=bool)",
        "return ~np.tri(q_len, k_len, k_len - q_len, dtype=bool)",
        "return np.triu(np.ones((q_len, k_len), dtype=bool))",
        "return np.tri(q_len, k_len, k_len - q_len)",
        "return np.tri(k_len, k_len, dtype=bool)",
        "return np.tri(q_len, k_len, 1, dtype=bool) @ 3",
        None,
    ],
    "padding_mask(tokens, pad_id)": [
        "return (tokens != pad_id)[:, None, None, :]",
        "return (tokens == pad_id)[:, None, None, :]",
        "return (tokens != pad_id)[:, None, :, None]",
        "return (tokens > 0)[:, None, None, :]",
        "return tokens != pad_id",
        "tokens[tokens == pad_id] = -1\nreturn (tokens != -1)[:, None, None, :]",
        "return [t != pad_id for t in tokens]",
        None,
    ],
    "combine_masks(*attn_masks)": [
        "combined = attn_masks[0]\n"
        "for attn_mask in attn_masks[1:]:\n"
        "    combined = combined & attn_mask\n"
        "return combined",
        "return attn_masks[0] & attn_masks[1]",
        "combined = attn_masks[0]\n"
        "for attn_mask in attn_masks[1:]:\n"
        "    combined = combined | attn_mask\n"
        "return combined",
        "return np.all(attn_masks, axis=0)",
        None,
    ],
    "decoder_mask(tokens, pad_id)": [
        "n = tokens.shape[1]\n"
        "return combine_masks(causal_mask(n, n), padding_mask(tokens, pad_id))",
        "n = tokens.shape[1]\n"
        "past = np.tril(np.ones((n, n), dtype=bool))\n"
        "return past[None, None] & (tokens != pad_id)[:, None, None, :]",
        "return padding_mask(tokens, pad_id)",
        "n = tokens.shape[1]\nreturn causal_mask(n, n)",
        "n = tokens.shape[1]\nreturn causal_mask(n, n) | padding_mask(tokens, pad_id)",
        "n = tokens.shape[0]\nreturn causal_mask(n, n) & padding_mask(tokens, pad_id)",
        "raise ValueError(tokens.shape)",
        CRASH,
        None,
    ],
}

# One of these stands in place of an answer, or of the file. What must become of it.
HOSTILE: list[tuple[str, str]] = [
    (CRASH, "partly graded"),
    ("while True: pass", "partly graded"),
    ("return np.ones(1 << 34)", "partly graded"),
    ("import ctypes\nctypes.string_at(0)", "partly graded"),
    ("import os\nos.write(3, b'x' * 99)\nos.close(3)", "partly graded"),
    ("import __main__\nreturn __main__.expected", "graded"),
    ("from solutions import masks\nreturn masks.causal_mask(q_len, k_len)", "graded"),
    ("import os\nos.kill(-1, 9)\nos.kill(0, 9)\nreturn None", "graded"),
    ("open('x', 'ab').write(bytes(1 << 27))", "graded"),
    ("import os\nreturn [os.fork() for _ in range(99)]", "graded"),
    ("FILE: torn", "unreadable"),
    ("FILE: nested", "unreadable"),
    ("FILE: another course", "unreadable"),
    ("FILE: copied cells", "graded"),
]


def define(head: str, body: str) -> str:
    lines = "\n    ".join(body.splitlines())
    return f"import numpy as np\n\n\ndef {head}:\n    {lines}"


def answers(rng: random.Random) -> dict[str, str]:
    """One learner's answers; about half of all functions are right."""
    chosen = {}
    for head, bodies in ANSWERS.items():
        body = bodies[0] if rng.random() < 0.4 else rng.choice(bodies)
        if body is not None:
            chosen[head.partition("(")[0]] = define(head, body)
    return chosen


def right() -> dict[str, str]:
    return {
        head.partition("(")[0]: inspect.getsource(
            getattr(masks, head.partition("(")[0])
        )
        for head in ANSWERS
    }


def spoil(release: dict[str, Any], attack: str) -> str:
    """A file that attacks or is broken; its other answers are right."""
    if not attack.startswith("FILE: "):
        body = define("causal_mask(q_len, k_len)", attack)
        return json.dumps(fill(release, right() | {"causal_mask": body}))
    content = fill(release, right())
    text = json.dumps(content)
    copied = content | {"cells": [cell for cell in content["cells"] for _ in "12"]}
    return {
        "torn": text[: len(text) // 2],
        "nested": "[" * 100_000,
        "another course": '{"cells": []}',
        "copied cells": json.dumps(copied),
    }[attack.removeprefix("FILE: ")]


def make(
    folder: Path,
    count: int,
    *,
    hostile: float = 0.0,
    torch: bool = False,
    seed: int = 0,
) -> Iterator[tuple[str, str]]:
    """Write submissions as nbgrader keeps them; give each student and its status.

    hostile: the share of attacks and broken files. torch: whether each imports it.
    """
    rng = random.Random(seed)
    attacks = itertools.cycle(rng.sample(HOSTILE, len(HOSTILE)))
    release = load(RELEASE)
    for number in range(count):
        student = f"student{number:04}"
        path = folder / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
        if rng.random() < hostile:
            attack, status = next(attacks)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(spoil(release, attack))
        else:
            written = answers(rng)
            if torch:
                first = next(iter(written), None)
                written |= {first: f"import torch\n{written[first]}"} if first else {}
            crashes = any("os._exit" in answer for answer in written.values())
            status = "partly graded" if crashes else "graded"
            write(fill(release, written), path)
        yield student, status


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--hostile", type=float, default=0.0, help="share of attacks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    made = make(
        options.folder, options.count, hostile=options.hostile, seed=options.seed
    )
    print(f"{len(list(made))} submissions in {options.folder}")


if __name__ == "__main__":
    main()
