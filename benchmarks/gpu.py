"""Training on a GPU: against Trainer and PEFT, and packed rows under each kernel of attention.

The configuration of SmolLM2-135M with fresh weights, English-German pairs in batches of 16, AdamW at a
constant rate; ours is what `finescale run` does, theirs Trainer with dynamic padding, on the same batches. No
files are needed.

    python benchmarks/gpu.py [--steps 50] [--rounds 3] [--no-keep]

Figures, for METHOD full or lora and PRECISION float32 or bf16: tokens_per_second_METHOD_PRECISION and
tokens_per_second_trainer_METHOD_PRECISION, speedup_METHOD_PRECISION, peak_memory_METHOD_PRECISION and
peak_memory_trainer_METHOD_PRECISION (bytes allocated), loss_difference_METHOD_PRECISION (nats a token after
the last step). For a row of 4,096 tokens, forward and backward: milliseconds_KERNEL_PRECISION of attention in
all layers (flash: variable length; nested; apart: a call for each example; dense: a block mask), and
difference_KERNEL_PRECISION from `apart` (largest, of values and gradients).

Where there is no GPU it says so and measures nothing. It was written without one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product
from typing import Any

from report import publish
from training import CONFIGURATION, METHODS, PACKAGES, data, train_ours, train_theirs

from finescale.runs.memory import forget_peak, peak_memory

PRECISIONS = ("float32", "bf16")
HEADS, KEY_HEADS, WIDTH, LAYERS = 9, 3, 64, 30
ROW, SHORTEST, LONGEST = 4_096, 40, 160


def timed(function: Callable[[], Any], rounds: int) -> float:
    """Milliseconds of a call on the GPU: the median, after a call that warms up."""
    import torch  # noqa: PLC0415

    taken = []
    for _ in range(rounds + 1):
        torch.cuda.synchronize()
        began = time.perf_counter()
        function()
        torch.cuda.synchronize()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[1:])


def kernels(precision: str, rounds: int) -> dict[str, float]:
    """Times and differences of the kernels for a row of several examples."""
    import torch  # noqa: PLC0415
    from transformers.integrations.sdpa_attention import repeat_kv  # noqa: PLC0415

    from finescale.batches.fused import flash_by_lengths, nested, varlen  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    lengths: list[int] = []
    while sum(lengths) < ROW:
        lengths.append(int(torch.randint(SHORTEST, LONGEST, (1,), generator=generator)))
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    query, key, value = (
        torch.randn(1, heads, sum(lengths), WIDTH, generator=generator).to("cuda", kind).requires_grad_()
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    block = torch.block_diag(*(torch.ones(n, n, device="cuda").tril() for n in lengths)).bool()
    groups = HEADS // KEY_HEADS
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def apart() -> torch.Tensor:
        parts = zip(*(part.split(lengths, 2) for part in (query, key, value)), strict=True)
        made = [
            sdpa(q, repeat_kv(k, groups), repeat_kv(v, groups), is_causal=True).transpose(1, 2)
            for q, k, v in parts
        ]
        return torch.cat(made, 1)

    def dense() -> torch.Tensor:
        return sdpa(query, repeat_kv(key, groups), repeat_kv(value, groups), attn_mask=block).transpose(1, 2)

    ways: dict[str, Callable[[], torch.Tensor]] = {
        "apart": apart,
        "dense": dense,
        "nested": lambda: nested(query, key, value, lengths, None),
    }
    if kind == torch.bfloat16 and flash_by_lengths():
        ways["flash"] = lambda: varlen(query, key, value, lengths, None, None)

    def everything(way: Callable[[], torch.Tensor]) -> list[torch.Tensor]:
        for part in (query, key, value):
            part.grad = None
        made = way()
        made.float().square().sum().backward()
        return [made.detach(), *(part.grad for part in (query, key, value) if part.grad is not None)]

    wanted = [one.float() for one in everything(apart)]
    figures: dict[str, float] = {}
    for name, way in ways.items():
        got = [one.float() for one in everything(way)]
        differences = [float((a - b).abs().max()) for a, b in zip(got, wanted, strict=True)]
        figures[f"difference_{name}_{precision}"] = max(differences)
        figures[f"milliseconds_{name}_{precision}"] = LAYERS * timed(lambda way=way: everything(way), rounds)
    return figures


def training(method: str, precision: str, steps: int, rounds: int) -> dict[str, float]:
    """Ours and theirs on the same batches."""
    bf16 = precision == "bf16"
    ours, theirs, memory = [], [], []
    for _ in range(rounds + 1):  # the first round warms up
        theirs.append(train_theirs(CONFIGURATION, method, steps, "cuda", bf16))
        forget_peak()
        ours.append(train_ours(CONFIGURATION, method, steps, "cuda", bf16))
        memory.append(peak_memory() or 0)
    seconds = {
        who: statistics.median(run["seconds"] for run in runs[1:])
        for who, runs in (("ours", ours), ("theirs", theirs))
    }
    name, tokens = f"{method}_{precision}", ours[0]["tokens"]
    return {
        f"tokens_per_second_{name}": tokens / seconds["ours"],
        f"tokens_per_second_trainer_{name}": tokens / seconds["theirs"],
        f"speedup_{name}": seconds["theirs"] / seconds["ours"],
        f"peak_memory_{name}": statistics.median(memory[1:]),
        f"peak_memory_trainer_{name}": statistics.median(run["memory"] for run in theirs[1:]),
        f"loss_difference_{name}": max(abs(a["loss"] - b["loss"]) for a, b in zip(ours, theirs, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()

    import torch  # noqa: PLC0415 - after the options

    if not torch.cuda.is_available():
        print("gpu: torch sees no GPU here; nothing was measured", file=sys.stderr)
        return
    data(CONFIGURATION, options.steps)
    figures: dict[str, float | None] = {"steps": options.steps}
    for precision in PRECISIONS:
        figures |= kernels(precision, options.rounds)
    for method, precision in product(METHODS, PRECISIONS):
        figures |= training(method, precision, options.steps, options.rounds)
        print(f"{method} {precision}: {figures[f'speedup_{method}_{precision}']:.2f}x", file=sys.stderr)
    publish("gpu", figures, packages=(*PACKAGES, "accelerate"), keep=not options.no_keep)


if __name__ == "__main__":
    main()
