"""Does a mask save work? Attention under the same masks, said in different ways.

    python benchmarks/masks.py                            # prints the table: minutes
    python benchmarks/masks.py --record benchmarks/masks.json
    python benchmarks/masks.py --lengths 256 512 --repeat 5

Every round measures each way once, one after the other, and what is reported is the
time over that of attention without any mask in the same round: the median of the
rounds, and their quartiles. Only the forward pass is measured: on a CPU, FlexAttention
has no other. What compiling takes, and making the masks, is not counted.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from machine import processor
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

HEADS, D_HEAD, BLOCK = 4, 64, 128
LEAST = 0.02  # seconds: what is quicker is called several times
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Rule = Callable[[Tensor, Tensor], Tensor]
PLAIN = ("none", "no mask")


def rules(window: int, document: int) -> dict[str, Rule]:
    """The three masks, as questions about positions."""
    return {
        "causal": lambda q, k: k <= q,
        "window": lambda q, k: (k <= q) & (q - k < window),
        "documents": lambda q, k: (k <= q) & (q // document == k // document),
    }


def with_array(attn_mask: Tensor) -> Attend:
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)


def with_word(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def with_blocks(rule: Rule, length: int) -> tuple[Attend, float]:
    """FlexAttention, compiled for one mask, and the share of blocks it computes."""

    def mask_mod(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return rule(q_idx, kv_idx)

    block_mask = create_block_mask(
        mask_mod, 1, 1, length, length, device="cpu", BLOCK_SIZE=BLOCK
    )
    compiled: Any = torch.compile(flex_attention, dynamic=False)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return compiled(q, k, v, block_mask=block_mask)

    return attend, float(block_mask.to_dense().float().mean())


def in_chunks(window: int, length: int) -> Attend:
    """A window: each chunk of queries meets its own keys and the ones before."""
    count = length // window
    assert count * window == length, (window, length)
    q, k = torch.arange(window)[:, None], torch.arange(-window, window)
    near = (k <= q) & (q - k < window)  # (window, 2 window), for every chunk
    real = torch.arange(count)[:, None, None] * window + k >= 0
    attn_mask = (near & real)[None]  # (1, count, window, 2 window)

    def cut(x: Tensor) -> Tensor:
        # four axes: the fast kernel wants so many
        return x.reshape(-1, count, window, D_HEAD)

    def with_the_one_before(x: Tensor) -> Tensor:
        return torch.cat([cut(F.pad(x, (0, 0, window, -window))), cut(x)], dim=-2)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = F.scaled_dot_product_attention(
            cut(query),
            with_the_one_before(key),  # (B * H, count, 2 window, K)
            with_the_one_before(value),
            attn_mask=attn_mask,
        )
        return output.reshape(query.shape)

    return attend


def one_by_one(document: int) -> Attend:
    """Documents, each by itself."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = (x.split(document, dim=-2) for x in (query, key, value))
        return torch.cat([with_word(*part) for part in zip(*parts, strict=True)], -2)

    return attend


def ways(
    length: int, window: int, document: int
) -> Iterator[tuple[str, str, Attend, float, float | None]]:
    """Each mask in each way: names, call, share of pairs seen, and of scores asked for.

    The last is None where the kernel decides what it skips.
    """
    yield (*PLAIN, F.scaled_dot_product_attention, 1.0, 1.0)
    position = torch.arange(length)
    window, document = min(window, length), min(document, length)
    own = {
        "causal": ("is_causal", with_word, None),  # the kernel's own business
        "window": ("in chunks", in_chunks(window, length), 2 * window / length),
        "documents": ("one by one", one_by_one(document), None),
    }
    for name, rule in rules(window, document).items():
        attn_mask = rule(position[:, None], position)
        seen = float(attn_mask.float().mean())
        yield name, "boolean array", with_array(attn_mask), seen, 1.0
        flex, computed = with_blocks(rule, length)
        yield name, "FlexAttention", flex, seen, computed
        way, attend, computed = own[name]
        yield name, way, attend, seen, computed


def seconds(attend: Attend, arrays: list[Tensor], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        attend(*arrays)
    return (time.perf_counter() - start) / calls


def quartiles(values: list[float]) -> list[float]:
    if len(values) == 1:
        return values * 3
    return [round(v, 5) for v in statistics.quantiles(values, n=4, method="inclusive")]


@torch.inference_mode()
def measure(length: int, window: int, document: int, repeat: int) -> list[dict]:
    """All ways at one length: what is right first, then how long it takes."""
    torch.manual_seed(length)
    torch.compiler.reset()  # what was compiled for another length
    arrays = list(torch.randn(3, 1, HEADS, length, D_HEAD))
    entries, right = [], {}
    for mask, way, attend, seen, computed in ways(length, window, document):
        output = attend(*arrays)  # compiles, too
        torch.testing.assert_close(output, right.setdefault(mask, output))
        calls = max(1, round(LEAST / seconds(attend, arrays, 1)))
        entries.append((mask, way, attend, seen, computed, calls))
    times = {entry[:2]: [] for entry in entries}
    for _ in range(repeat):
        for mask, way, attend, *_, calls in entries:
            times[mask, way].append(seconds(attend, arrays, calls))
    return [
        {
            "length": length,
            "mask": mask,
            "way": way,
            "seen": round(seen, 4),
            "computed": computed,
            "ms": quartiles([1e3 * t for t in times[mask, way]]),
            "ratio": quartiles(
                [t / p for t, p in zip(times[mask, way], times[PLAIN], strict=True)]
            ),
        }
        for mask, way, _, seen, computed, _ in entries
    ]


def table(rows: list[dict]) -> str:
    lines = ["length  mask       way             pairs seen       ms   over no mask"]
    for row in rows:
        low, middle, high = row["ratio"]
        lines.append(
            f"{row['length']:6}  {row['mask']:9}  {row['way']:13}  {row['seen']:12.1%}"
            f"  {row['ms'][1]:7.2f}   {middle:.2f} ({low:.2f} to {high:.2f})"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096]
    )
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--document", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", type=Path, help="write what is measured, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict] = []
    for length in given.lengths:
        rows += measure(length, given.window, given.document, given.repeat)
        print(table([row for row in rows if row["length"] == length]), flush=True)
    if given.record:
        record = {
            "machine": processor(),
            "threads": given.threads,
            "torch": torch.__version__,
            "date": date.today().isoformat(),
            "repeat": given.repeat,
            "heads": HEADS,
            "d_head": D_HEAD,
            "block": BLOCK,
            "window": given.window,
            "document": given.document,
            "rows": rows,
        }
        given.record.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
