"""Training and decoding against what a researcher would write with the Hugging Face Trainer and PEFT.

Theirs: Trainer with dynamic padding on all cores, one run after the other. Ours: a sweep of 8 runs on two
single-threaded workers. The same models (0.3M and 1M: the nano ladder; 3M: fresh weights), the same
English-German pairs in the same batches of 16, AdamW at a constant rate, the same number of steps. A run is
timed from its base model to its last step; libraries are loaded and the data is tokenised before.

    python benchmarks/training.py [--sizes 0.3m,1m,3m] [--steps 100] [--runs 8] [--rounds 3] [--no-keep]
    python benchmarks/training.py --real [--steps 10] [--rounds 2]

With `--real` (after `make real`, which unpacks it) the model is SmolLM2-135M and the examples are those of
`studies/smollm2.yaml`, in batches of 8: two single-threaded runs of ours at a time against Trainer's runs one
after the other. Kept as `training_real`.

Figures: speedup_vs_trainer_METHOD_SIZE (examples a second, ours / theirs, medians of the rounds);
loss_difference_max (dev loss after the last step, nats per target token); gemm_fraction_full_3m (training
FLOPs a second of the sweep, padding and attention not counted, over the float32 matrix products a second of
all cores); decode_speedup_1m (against generate, same prompts and batches) and decode_same_tokens (share of
prompts); peak_memory_METHOD_SIZE in bytes (of a worker, libraries included), and the Trainer's process as
peak_memory_trainer_METHOD_SIZE.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from report import publish

from finescale.executors.local import Job, LocalExecutor, Result
from finescale.executors.machine import usable_cores
from finescale.ladder import LADDER, Shape, train_flops
from finescale.runs.memory import forget_peak, peak_memory

METHODS = ("full", "lora")
SHAPES = {"0.3m": LADDER["nano-0.3m"], "1m": LADDER["nano-1m"], "3m": Shape(6, 12, 16, 2048)}
REAL, CONFIGURATION = "135m", "135m-fresh"
"""SmolLM2-135M as it is, and its configuration with fresh weights."""
STUDY = Path(__file__).parents[1] / "studies" / "smollm2.yaml"
PARAMS = 106_203_456, 28_311_552
"""Of SmolLM2-135M: without the embedding, and in it."""
WORKERS = 2
BATCH, RANK, DEV_EXAMPLES = 16, 4, 200
BATCH_REAL, DEV_REAL = 8, 16
RATES = {"full": 1e-3, "lora": 1e-2}
RATES_REAL = {"full": 1e-4, "lora": 3e-3}
CONTEXT, NEW_TOKENS, PROMPTS = 1024, 64, 128
PACKAGES = ("torch", "transformers", "peft")


@lru_cache(maxsize=2)
def data(size: str, steps: int) -> tuple[list[list[Any]], list[Any], Any]:
    """Encoded training batches, dev examples and the tokenizer."""
    from finescale.batches.encoding import encode  # noqa: PLC0415 - the driver measures without torch
    from finescale.models.bundled import FOLDER  # noqa: PLC0415
    from finescale.models.tokenizer import open_tokenizer  # noqa: PLC0415
    from finescale.tasks.catalog import open_task  # noqa: PLC0415

    task = open_task(real_study().task, 2) if size == REAL else open_task("mini-en-de")  # pyright: ignore[reportArgumentType]
    tokenizer = open_tokenizer(real_folder() if size == REAL else FOLDER)
    batch, dev_examples = (BATCH_REAL, DEV_REAL) if size == REAL else (BATCH, DEV_EXAMPLES)
    chosen = [task.train[i % len(task.train)] for i in range(batch * steps)]
    examples = encode(task, chosen, tokenizer).examples
    dev = encode(task, task.dev[:dev_examples], tokenizer).examples
    return [list(examples[i : i + batch]) for i in range(0, len(examples), batch)], list(dev), tokenizer


@lru_cache(maxsize=1)
def real_study() -> Any:
    """The study of the real model; ends where its files are not there."""
    from finescale.spec.file import load_study  # noqa: PLC0415

    study = load_study(STUDY)
    missing = [path for path in study.files() if not path.exists()]  # pyright: ignore[reportAttributeAccessIssue]
    if missing:
        sys.exit(f"training: {missing[0]} is not there: run `make real` first (Ctrl-C once its runs begin)")
    return study


@lru_cache(maxsize=1)
def real_folder() -> Path:
    """The real model, dequantised."""
    from finescale.models.gguf import dequantise, gguf_in  # noqa: PLC0415

    (source,) = real_study().models.values()
    packed = gguf_in(Path(source.source))
    assert packed is not None
    return dequantise(packed)


def base_model(size: str) -> Any:
    """The base model of a size, in float32."""
    from transformers import LlamaConfig  # noqa: PLC0415

    from finescale.models.bundled import find_checkpoint  # noqa: PLC0415
    from finescale.models.decoder import build, config, open_model  # noqa: PLC0415

    if size == REAL:
        return open_model(real_folder())
    if size == CONFIGURATION:
        llama = LlamaConfig(
            vocab_size=49_152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
            eos_token_id=1,
            pad_token_id=0,
        )
        return build(llama, seed=0)
    if f"nano-{size}" in LADDER:
        return open_model(find_checkpoint(f"nano-{size}", "last").folder)
    return build(config(SHAPES[size], CONTEXT, eos=1, pad=0), seed=0)


def rate(size: str, method: str) -> float:
    """The learning rate of a method."""
    return (RATES if size in SHAPES else RATES_REAL)[method]


def dev_loss(model: Any, dev: list[Any]) -> float:
    """The library's own forward pass, an example at a time: nats per target token."""
    import torch  # noqa: PLC0415

    model.eval()
    nats, counted = 0.0, 0
    with torch.no_grad():
        for example in dev:
            ids = torch.from_numpy(example.ids).long()[None].to(model.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, example.target_start - 1 : -1]
            nats += float(
                torch.nn.functional.cross_entropy(logits, ids[0, example.target_start :], reduction="sum")
            )
            counted += example.target_tokens
    return nats / counted


def prepare(size: str, steps: int) -> int:
    """Loads the libraries and the data, so that no run pays for them."""
    if size == REAL:
        data(REAL, steps)
    trained("0.3m", "lora", 2, data("0.3m", 2)[0])
    return os.getpid()


def trained(
    size: str, method: str, steps: int, batches: list[list[Any]], *, device: str = "cpu", bf16: bool = False
) -> tuple[Any, Any]:
    """A model trained as `finescale run` trains it, and the training's progress."""
    from finescale.batches.batching import collate  # noqa: PLC0415
    from finescale.spec.run import OptimizerSpec  # noqa: PLC0415
    from finescale.training.loop import Schedule, train  # noqa: PLC0415
    from finescale.tuning.full import wrap_full  # noqa: PLC0415
    from finescale.tuning.lora import wrap_lora  # noqa: PLC0415

    model = base_model(size).to(device)
    tuned = wrap_full(model) if method == "full" else wrap_lora(model, RANK, seed=0)
    adamw = OptimizerSpec(name="adamw")
    schedule = Schedule(steps, adamw, rate(size, method), 1.0, (), keep_best=False, bf16=bf16)
    progress = train(tuned, lambda step: [collate(batches[step], pad=0)], schedule, lambda _: 0.0)
    return tuned, progress


def train_ours(
    size: str, method: str, steps: int, device: str = "cpu", bf16: bool = False
) -> dict[str, float]:
    """One run of our sweep: seconds from the base model to the last step, dev loss, FLOPs, tokens."""
    batches, dev, _ = data(size, steps)
    began = time.perf_counter()
    tuned, progress = trained(size, method, steps, batches, device=device, bf16=bf16)
    seconds = time.perf_counter() - began
    shape = SHAPES.get(size)
    params = PARAMS if shape is None else (shape.nonembedding_params, shape.embedding_params)
    kind = "full" if method == "full" else "pet"
    flops = train_flops(kind, *params, progress.tokens, progress.target_tokens)
    loss = dev_loss(tuned.model, dev)
    return {"seconds": seconds, "flops": flops, "loss": loss, "tokens": progress.tokens}


def train_theirs(
    size: str, method: str, steps: int, device: str = "cpu", bf16: bool = False
) -> dict[str, float]:
    """The same run with Trainer and PEFT in this process, on all cores or the GPU; peak memory in bytes."""
    import torch  # noqa: PLC0415
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments  # noqa: PLC0415

    class InOrder(Trainer):
        """Takes the examples in their order: the batches are ours."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            del train_dataset
            return torch.utils.data.SequentialSampler(rows)

    batches, dev, tokenizer = data(size, steps)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows = [
        {
            "input_ids": example.ids.tolist(),
            "labels": [-100] * example.target_start + example.ids[example.target_start :].tolist(),
        }
        for batch in batches
        for example in batch
    ]
    forget_peak()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        model = base_model(size)
        if method == "lora":
            torch.manual_seed(0)
            settings = LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
            model = get_peft_model(model, settings)
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=len(batches[0]),
            max_steps=steps,
            learning_rate=rate(size, method),
            lr_scheduler_type="constant",
            adam_beta1=0.9,
            adam_beta2=0.99,
            weight_decay=0.0,
            max_grad_norm=0.0,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=device == "cpu",
            bf16=bf16,
        )
        collator = DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=-100)
        InOrder(model=model, args=arguments, train_dataset=rows, data_collator=collator).train()  # pyright: ignore[reportArgumentType]
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "memory": float(peak_memory() or 0), "loss": dev_loss(model, dev)}


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

    batches, dev, tokenizer = data("1m", steps)
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


def compare(
    executor: LocalExecutor, size: str, method: str, steps: int, runs: int, rounds: int
) -> tuple[dict[str, float | None], list[float]]:
    """A sweep of ours against as many runs with Trainer: figures, and how far the dev losses are apart."""
    ours: list[float] = []
    theirs: list[dict[str, float]] = []
    rates: list[float] = []
    peaks: list[int] = []
    apart: list[float] = []
    found: list[Result] = []
    for _ in range(rounds):
        theirs.append(train_theirs(size, method, steps))
        jobs = [
            Job(f"{method}-{size}-{i}", "training:train_ours", (size, method, steps)) for i in range(runs)
        ]
        found = results(executor, jobs)
        # a worker's time in runs: its evaluations are for the comparison only
        ours.append(sum(result.value["seconds"] for result in found) / WORKERS / runs)
        rates.append(sum(result.value["flops"] for result in found) / (ours[-1] * runs))
        peaks += [result.peak_memory_bytes or 0 for result in found]
        apart += [abs(result.value["loss"] - theirs[-1]["loss"]) for result in found]
    tokens = found[0].value["tokens"]
    name, each = f"{method}_{size}", statistics.median(ours)
    figures: dict[str, float | None] = {
        f"speedup_vs_trainer_{name}": statistics.median(run["seconds"] for run in theirs) / each,
        f"examples_per_second_{name}": sum(map(len, data(size, steps)[0])) / each,
        f"tokens_per_second_{name}": tokens / each,
        f"gflops_{name}": statistics.median(rates) / 1e9,
        f"peak_memory_{name}": statistics.median(peaks),
        f"peak_memory_trainer_{name}": statistics.median(run["memory"] for run in theirs),
    }
    print(
        f"{method} {size}: {figures[f'speedup_vs_trainer_{name}']:.2f}x, losses within {max(apart):.1e}",
        file=sys.stderr,
    )
    return figures, apart


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", action="store_true", help="SmolLM2-135M instead of the sizes")
    parser.add_argument("--sizes", default="0.3m,1m,3m")
    parser.add_argument("--steps", type=int, help="100; with --real 10")
    parser.add_argument("--runs", type=int, help="runs of our sweep: 8; with --real 2")
    parser.add_argument("--rounds", type=int, help="3; with --real 2")
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    sizes = [REAL] if options.real else options.sizes.split(",")
    usual = (10, 2, 2) if options.real else (100, 8, 3)
    given = (options.steps, options.runs, options.rounds)
    steps, runs, rounds = (stated or default for stated, default in zip(given, usual, strict=True))
    unknown = [size for size in sizes if size not in (*SHAPES, REAL)]
    if unknown:
        sys.exit(f"training: unknown size {unknown[0]!r}: one of {', '.join(SHAPES)}, or --real")

    import torch  # noqa: PLC0415 - after the options
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    torch.set_num_threads(usable_cores())
    disable_progress_bar()
    for size in sizes:
        data(size, steps)
    figures: dict[str, float | None] = {"steps": steps, "runs": runs, "cores": usable_cores()}
    executor, differences = LocalExecutor(WORKERS), []
    try:
        results(executor, [Job(f"warm-{i}", "training:prepare", (sizes[0], steps)) for i in range(WORKERS)])
        gemm = gemm_flops_per_second()
        figures["gemm_gflops"] = gemm / 1e9
        for size in sizes:
            for method in METHODS:
                found, apart = compare(executor, size, method, steps, runs, rounds)
                differences += apart
                figures |= found
                if (method, size) in (("full", "3m"), ("full", REAL)):
                    figures[f"gemm_fraction_full_{size}"] = (found[f"gflops_full_{size}"] or 0) * 1e9 / gemm
        figures["loss_difference_max"] = max(differences)
        if not options.real:
            (decoded,) = results(executor, [Job("decode", "training:decode_both", (steps, rounds))])
            figures |= {
                "decode_speedup_1m": decoded.value["speedup"],
                "decode_same_tokens": decoded.value["same"],
            }
    finally:
        executor.close()
    name = "training_real" if options.real else "training"
    publish(name, figures, packages=PACKAGES, keep=not options.no_keep)


if __name__ == "__main__":
    main()
