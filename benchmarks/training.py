"""Training and decoding against what a researcher would write with the Hugging Face Trainer and PEFT.

Theirs: Trainer with dynamic padding on all cores, one run after the other. Ours: a sweep of 8 runs on two
single-threaded workers. The same models (0.3M and 1M: the nano ladder; 3M: fresh weights), the same
English-German pairs in the same batches of 16, AdamW at a constant rate, the same number of steps. A run is
timed from its base model to its last step; libraries are loaded and the data is tokenised before.

    python benchmarks/training.py [--sizes 0.3m,1m,3m] [--steps 100] [--runs 8] [--rounds 3] [--no-keep]

Figures: speedup_vs_trainer_METHOD_SIZE (examples a second, ours / theirs, medians of the rounds);
loss_difference_max (dev loss after the last step, nats per target token); gemm_fraction_full_3m (training
FLOPs a second of the sweep, padding and attention not counted, over the float32 matrix products a second of
all cores); decode_speedup_1m (against generate, same prompts and batches) and decode_same_tokens (share of
prompts); peak_memory_METHOD_SIZE in bytes (of a worker, libraries included).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from functools import lru_cache
from typing import Any

from report import publish

from finescale.executors.local import Job, LocalExecutor, Result
from finescale.executors.machine import usable_cores
from finescale.ladder import LADDER, Shape, train_flops

METHODS = ("full", "lora")
SHAPES = {"0.3m": LADDER["nano-0.3m"], "1m": LADDER["nano-1m"], "3m": Shape(6, 12, 16, 2048)}
WORKERS = 2
BATCH, RANK, DEV_EXAMPLES = 16, 4, 200
RATES = {"full": 1e-3, "lora": 1e-2}
CONTEXT, NEW_TOKENS, PROMPTS = 1024, 64, 128
PACKAGES = ("torch", "transformers", "peft")


@lru_cache(maxsize=1)
def data(steps: int) -> tuple[list[list[Any]], list[Any], Any]:
    """Encoded training batches, dev examples and the tokenizer."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - the driver measures without torch

    from finescale.batches.encoding import encode  # noqa: PLC0415
    from finescale.models.bundled import FOLDER  # noqa: PLC0415
    from finescale.tasks.catalog import open_task  # noqa: PLC0415

    task, tokenizer = open_task("mini-en-de"), AutoTokenizer.from_pretrained(str(FOLDER))
    examples = encode(
        task, [task.train[i % len(task.train)] for i in range(BATCH * steps)], tokenizer
    ).examples
    dev = encode(task, task.dev[:DEV_EXAMPLES], tokenizer).examples
    return [list(examples[i : i + BATCH]) for i in range(0, len(examples), BATCH)], list(dev), tokenizer


def base_model(size: str) -> Any:
    """The base model of a size, in float32."""
    from finescale.models.bundled import find_checkpoint  # noqa: PLC0415
    from finescale.models.decoder import build, config, open_model  # noqa: PLC0415

    if f"nano-{size}" in LADDER:
        return open_model(find_checkpoint(f"nano-{size}", "last").folder)
    return build(config(SHAPES[size], CONTEXT, eos=1, pad=0), seed=0)


def dev_loss(model: Any, dev: list[Any]) -> float:
    """The library's own forward pass, an example at a time: nats per target token."""
    import torch  # noqa: PLC0415

    model.eval()
    nats, counted = 0.0, 0
    with torch.no_grad():
        for example in dev:
            ids = torch.from_numpy(example.ids).long()[None]
            logits = model(input_ids=ids, use_cache=False).logits[0, example.target_start - 1 : -1]
            nats += float(
                torch.nn.functional.cross_entropy(logits, ids[0, example.target_start :], reduction="sum")
            )
            counted += example.target_tokens
    return nats / counted


def prepare(steps: int) -> int:
    """Loads the libraries and the data, so that no run pays for them."""
    trained("0.3m", "lora", 2, data(steps)[0])
    return os.getpid()


def trained(size: str, method: str, steps: int, batches: list[list[Any]]) -> tuple[Any, Any]:
    """A model trained as `finescale run` trains it, and the training's progress."""
    from finescale.batches.batching import collate  # noqa: PLC0415
    from finescale.spec.run import OptimizerSpec  # noqa: PLC0415
    from finescale.training.loop import train  # noqa: PLC0415
    from finescale.tuning.full import wrap_full  # noqa: PLC0415
    from finescale.tuning.lora import wrap_lora  # noqa: PLC0415

    model = base_model(size)
    tuned = wrap_full(model) if method == "full" else wrap_lora(model, RANK, seed=0)
    progress = train(
        tuned,
        lambda step: [collate(batches[step], pad=0)],
        steps,
        optimizer=OptimizerSpec(name="adamw"),
        learning_rate=RATES[method],
        floor=1.0,
        evaluate_at=(),
        evaluate=lambda _: 0.0,
        keep_best=False,
    )
    return tuned, progress


def train_ours(size: str, method: str, steps: int) -> dict[str, float]:
    """One run of our sweep: seconds from the base model to the last step, dev loss, FLOPs."""
    batches, dev, _ = data(steps)
    began = time.perf_counter()
    tuned, progress = trained(size, method, steps, batches)
    seconds = time.perf_counter() - began
    shape = SHAPES[size]
    flops = train_flops(
        "full" if method == "full" else "pet",
        shape.nonembedding_params,
        shape.embedding_params,
        progress.tokens,
        progress.target_tokens,
    )
    return {"seconds": seconds, "flops": flops, "loss": dev_loss(tuned.model, dev)}


def train_theirs(size: str, method: str, steps: int) -> dict[str, float]:
    """The same run with Trainer and PEFT in this process, on all cores."""
    import torch  # noqa: PLC0415
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments  # noqa: PLC0415

    class InOrder(Trainer):
        """Takes the examples in their order: the batches are ours."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            del train_dataset
            return torch.utils.data.SequentialSampler(rows)

    batches, dev, tokenizer = data(steps)
    tokenizer.padding_side = "right"
    rows = [
        {
            "input_ids": example.ids.tolist(),
            "labels": [-100] * example.target_start + example.ids[example.target_start :].tolist(),
        }
        for batch in batches
        for example in batch
    ]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        model = base_model(size)
        if method == "lora":
            torch.manual_seed(0)
            settings = LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
            model = get_peft_model(model, settings)
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            learning_rate=RATES[method],
            lr_scheduler_type="constant",
            adam_beta1=0.9,
            adam_beta2=0.99,
            weight_decay=0.0,
            max_grad_norm=0.0,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        collator = DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=-100)
        InOrder(model=model, args=arguments, train_dataset=rows, data_collator=collator).train()  # pyright: ignore[reportArgumentType]
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "loss": dev_loss(model, dev)}


def gemm_flops_per_second() -> float:
    """Float32 matrix products of 2,048 x 2,048 on all cores: the median of five rounds."""
    import torch  # noqa: PLC0415

    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    rounds = []
    for _ in range(6):
        began = time.perf_counter()
        for _ in range(5):
            torch.mm(a, b)
        rounds.append((time.perf_counter() - began) / 5)
    return 2 * 2048**3 / statistics.median(rounds[1:])


def decode_both(steps: int, rounds: int) -> dict[str, float]:
    """Our decoding against `generate` in a worker: seconds, and the share of prompts with the same tokens."""
    import torch  # noqa: PLC0415
    from transformers import GenerationConfig  # noqa: PLC0415

    from finescale.evaluation.decoding import BATCH_PROMPTS, decode  # noqa: PLC0415

    batches, dev, tokenizer = data(steps)
    tuned, _ = trained("1m", "full", steps, batches)  # an untuned model would end every answer at once
    model = tuned.model.eval()
    prompts = sorted((example.ids[: example.target_start] for example in dev[:PROMPTS]), key=len)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    settings = GenerationConfig(
        max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=eos, pad_token_id=pad, use_cache=True
    )

    def theirs() -> list[list[int]]:
        found = []
        for start in range(0, len(prompts), BATCH_PROMPTS):
            part = prompts[start : start + BATCH_PROMPTS]
            width = max(len(prompt) for prompt in part)
            ids = torch.full((len(part), width), pad)
            for row, prompt in enumerate(part):
                ids[row, width - len(prompt) :] = torch.from_numpy(prompt)
            seen = torch.arange(width) >= torch.tensor([[width - len(prompt)] for prompt in part])
            with torch.no_grad():
                made = model.generate(ids, attention_mask=seen.long(), generation_config=settings)
            for tokens in made[:, width:].tolist():
                found.append(tokens[: tokens.index(eos)] if eos in tokens else tokens)
        return found

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    answers: dict[str, list[list[int]]] = {}
    for _ in range(rounds + 1):  # the first round warms up
        began = time.perf_counter()
        answers["theirs"] = theirs()
        times["theirs"].append(time.perf_counter() - began)
        began = time.perf_counter()
        answers["ours"] = decode(tuned, prompts, pad=pad, eos=eos, limit=NEW_TOKENS)
        times["ours"].append(time.perf_counter() - began)
    same = sum(a == b for a, b in zip(answers["ours"], answers["theirs"], strict=True)) / len(prompts)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    return {"speedup": medians["theirs"] / medians["ours"], "same": same}


def results(executor: LocalExecutor, jobs: list[Job]) -> list[Result]:
    """Runs jobs as the runner does: whenever a worker is free."""
    waiting, found = list(jobs), []
    while len(found) < len(jobs):
        while waiting and executor.free():
            executor.submit(waiting.pop(0))
        found += executor.wait(0.1)
    failed = next((result for result in found if result.error is not None), None)
    if failed is not None:
        sys.exit(f"training: {failed.run}: {failed.error}\n{failed.traceback}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="0.3m,1m,3m")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--runs", type=int, default=8, help="runs of our sweep")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    sizes, steps = options.sizes.split(","), options.steps
    unknown = [size for size in sizes if size not in SHAPES]
    if unknown:
        sys.exit(f"training: unknown size {unknown[0]!r}: one of {', '.join(SHAPES)}")

    import torch  # noqa: PLC0415 - after the options
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    torch.set_num_threads(usable_cores())
    disable_progress_bar()
    figures: dict[str, float | None] = {"steps": steps, "runs": options.runs, "cores": usable_cores()}
    executor, differences = LocalExecutor(WORKERS), []
    try:
        results(executor, [Job(f"warm-{i}", "training:prepare", (steps,)) for i in range(WORKERS)])
        data(steps)
        gemm = gemm_flops_per_second()
        figures["gemm_gflops"] = gemm / 1e9
        for size in sizes:
            for method in METHODS:
                ours, theirs, rates, peaks = [], [], [], []
                for _ in range(options.rounds):
                    theirs.append(train_theirs(size, method, steps))
                    name = f"{method}-{size}"
                    jobs = [
                        Job(f"{name}-{i}", "training:train_ours", (size, method, steps))
                        for i in range(options.runs)
                    ]
                    found = results(executor, jobs)
                    # a worker's time in runs: its evaluations are for the comparison only
                    ours.append(sum(result.value["seconds"] for result in found) / WORKERS / options.runs)
                    rates.append(sum(result.value["flops"] for result in found) / (ours[-1] * options.runs))
                    peaks += [result.peak_memory_bytes or 0 for result in found]
                    differences += [abs(result.value["loss"] - theirs[-1]["loss"]) for result in found]
                speedup = statistics.median(run["seconds"] for run in theirs) / statistics.median(ours)
                figures[f"speedup_vs_trainer_{method}_{size}"] = speedup
                figures[f"examples_per_second_{method}_{size}"] = steps * BATCH / statistics.median(ours)
                figures[f"peak_memory_{method}_{size}"] = statistics.median(peaks)
                if (method, size) == ("full", "3m"):
                    figures["gemm_fraction_full_3m"] = statistics.median(rates) / gemm
                print(
                    f"{method} {size}: {speedup:.2f}x, losses within {max(differences):.1e}", file=sys.stderr
                )
        figures["loss_difference_max"] = max(differences)
        (decoded,) = results(executor, [Job("decode", "training:decode_both", (steps, options.rounds))])
        figures |= {
            "decode_speedup_1m": decoded.value["speedup"],
            "decode_same_tokens": decoded.value["same"],
        }
    finally:
        executor.close()
    publish("training", figures, packages=PACKAGES, keep=not options.no_keep)


if __name__ == "__main__":
    main()
