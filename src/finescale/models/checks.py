"""Whether a folder holds the whole model that its configuration says: from headers alone, without torch.

What is refused here is wrong for every architecture. What one architecture asks for in particular is compared
in `architecture`, which loads torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.models.headers import DamagedFile, Stored, read_header

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
WRAPPERS = {
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FSDP",
    "_checkpoint_wrapped_module.": "activation checkpointing",
    "_forward_module.": "Lightning or DeepSpeed",
    "module.": "DataParallel or DeepSpeed",
}
"""What wrappers put into tensors' names when the wrapped model is saved instead of the model."""
PACKED = {
    "gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes", "mxfp4": "MXFP4", "fp8": "FP8",
    "fbgemm_fp8": "FP8", "compressed-tensors": "compressed-tensors", "aqlm": "AQLM", "hqq": "HQQ",
    "quanto": "quanto", "eetq": "EETQ", "torchao": "torchao", "bitnet": "BitNet", "higgs": "HIGGS",
    "spqr": "SpQR", "vptq": "VPTQ", "auto-round": "AutoRound", "quark": "Quark",
}  # fmt: skip
"""Kinds of quantised weights by `quant_method` of the configuration."""
PACKED_TENSORS = re.compile(r"\.(qweight|qzeros|g_idx|absmax|quant_map|SCB|weight_packed|weight\.absmax)$")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
LAYER = re.compile(r"^(.*?)\b(layers|h|blocks|block|layer)\.(\d+)\.")
EXPERT = re.compile(r"^(.*\.experts)\.(\d+)\.(.+)$")
EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings|embeddings|embedding|tok_embeddings)\.weight$"
)
HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output)\.weight$")
SHOWN = 4


def stored_tensors(
    folder: Path, index: Mapping[str, Any] | None
) -> tuple[dict[str, Stored], list[UsageError]]:
    """The tensors of a folder's weights, and what is wrong with its files.

    Args:
        folder: The folder.
        index: The `weight_map` of its index; None: there is one file.
    """
    tensors: dict[str, Stored] = {}
    problems = []
    for name in sorted(set(index.values())) if index is not None else [WEIGHTS]:
        try:
            tensors |= read_header(folder / name)
        except DamagedFile as error:
            problems.append(
                UsageError(
                    f"{name} is damaged",
                    wanted="a whole safetensors file",
                    got=str(error),
                    remedy="download or copy it again",
                )
            )
    if index is not None and not problems:
        astray = [n for n, file in index.items() if n not in tensors or tensors[n].file != file]
        unlisted = [n for n in tensors if n not in index]
        if astray or unlisted:
            problems.append(
                UsageError(
                    f"{INDEX} does not fit the files beside it",
                    wanted="every tensor in the file that the index names",
                    got=f"not where the index says: {first_names(astray or unlisted)}"
                    if astray
                    else f"not in the index: {first_names(unlisted)}",
                    remedy="copy index and files from one and the same checkpoint",
                )
            )
    return tensors, problems


def header_problems(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Stored]
) -> list[UsageError]:
    """What is wrong with a model whatever its architecture.

    Args:
        folder: The folder, for remedies.
        config: Its `config.json`.
        tensors: What its weights hold (`stored_tensors`).

    Returns:
        The problems, each with a remedy; their `where` is left to the caller.
    """
    packed = _packed(config, tensors)
    if packed is not None:
        return [packed]
    wrapper = _wrapper(folder, tensors)
    if wrapper is not None:
        return [wrapper]
    unmerged = [name for name in tensors if ".lora_" in name or ".base_layer." in name]
    if unmerged:
        return [
            UsageError(
                "the weights of an adapter that is not merged",
                wanted="the model's own tensors",
                got=first_names(unmerged),
                remedy="merge it: PeftModel.from_pretrained(model, ADAPTER).merge_and_unload()"
                f".save_pretrained({str(folder)!r})",
            )
        ]
    return [
        problem
        for problem in (
            _layers(config, tensors),
            *expert_problems(tensors),
            _vocabulary(config, tensors),
            _head(config, tensors),
        )
        if problem is not None
    ]


def adapter_problem(folder: Path) -> UsageError | None:
    """An adapter in the place of a model, or beside one: transformers would open the adapter's own base."""
    if not (folder / ADAPTER).is_file():
        return None
    try:
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, OSError, AttributeError):
        base = None
    if (folder / WEIGHTS).is_file() or (folder / INDEX).is_file():
        return UsageError(
            f"a left-over {ADAPTER} beside a whole model",
            wanted="a model, or an adapter: with both, transformers opens the adapter's base model",
            got=f"{ADAPTER} (base model: {base})",
            remedy=f"where the weights are the merged ones: mv {folder / ADAPTER} {folder / ADAPTER}.old",
        )
    return UsageError(
        "an adapter, not a model",
        wanted=f"{WEIGHTS} with all weights",
        got=f"{ADAPTER} (base model: {base})",
        remedy="give the base model, or merge: AutoPeftModelForCausalLM.from_pretrained("
        f"{str(folder)!r}).merge_and_unload().save_pretrained(MERGED), and give MERGED",
    )


def _packed(config: Mapping[str, Any], tensors: Mapping[str, Stored]) -> UsageError | None:
    """Weights in a few bits: a loss after finetuning them would be of another model."""
    stated = config.get("quantization_config")
    method = str(stated.get("quant_method", "")).lower() if isinstance(stated, dict) else ""
    if not method and isinstance(stated, dict) and any(key.startswith("load_in_") for key in stated):
        method = "bitsandbytes"
    found = [name for name in tensors if PACKED_TENSORS.search(name) or "quant_state" in name]
    if not (isinstance(stated, dict) or found):
        return None
    kind = PACKED.get(method, method or "packed")
    remedy = (
        "give the model before quantisation; `methods: {NAME: {quantize: nf4}}` quantises it while training"
    )
    if method in ("bitsandbytes", "mxfp4", "fp8"):
        remedy += "; or save it dequantised once: AutoModelForCausalLM.from_pretrained(FOLDER"
        remedy += (
            ").dequantize()" if method == "bitsandbytes" else ", quantization_config=KIND(dequantize=True))"
        )
        remedy += ".save_pretrained(NEW)"
    return UsageError(
        f"quantised weights ({kind})",
        wanted="weights in bfloat16, float16 or float32",
        got=f"quantization_config of config.json: {method}" if method else first_names(found),
        remedy=remedy,
    )


def _wrapper(folder: Path, tensors: Mapping[str, Stored]) -> UsageError | None:
    """Names that a wrapper changed: no tensor of the model would be found."""
    for prefix, by in WRAPPERS.items():
        found = [name for name in tensors if name.startswith(prefix) or (prefix[0] == "_" and prefix in name)]
        if found:
            return UsageError(
                f"every tensor's name has `{prefix}` in it, from {by}",
                wanted=first_names(_unwrapped(name, prefix) for name in found),
                got=first_names(found),
                remedy=_renaming(folder, prefix),
            )
    return None


def _unwrapped(name: str, prefix: str) -> str:
    return name.replace(prefix, "") if prefix[0] == "_" else name.removeprefix(prefix)


def _renaming(folder: Path, prefix: str) -> str:
    """One line of shell that takes a wrapper's prefix off every name."""
    change = f"replace('{prefix}', '')" if prefix[0] == "_" else f"removeprefix('{prefix}')"
    line = (
        'python -c "import glob; from safetensors.torch import load_file as load, save_file as save; '
        f"[save({{k.{change}: v for k, v in load(f).items()}}, f, {{'format': 'pt'}})"
        f" for f in glob.glob('{folder}/*.safetensors')]\""
    )
    if (folder / INDEX).is_file():
        line += f" && sed -i 's/{prefix.replace('.', chr(92) + '.')}//' {folder / INDEX}"
    return line


def _layers(config: Mapping[str, Any], tensors: Mapping[str, Stored]) -> UsageError | None:
    """Layers that the configuration counts and no tensor belongs to."""
    count = next((config[key] for key in LAYERS if isinstance(config.get(key), int)), 0)
    groups: dict[str, dict[int, int]] = {}
    for name in tensors:
        if match := LAYER.match(name):
            group = groups.setdefault(match[1] + match[2], {})
            group[int(match[3])] = group.get(int(match[3]), 0) + 1
    if not groups or not 0 < count < 100_000:
        return None
    path, there = max(groups.items(), key=lambda item: sum(item[1].values()))
    missing = [number for number in range(count) if number not in there]
    if not missing:
        return None
    return UsageError(
        "layers are missing from the weights" if len(missing) > 1 else "a layer is missing from the weights",
        wanted=f"{count} layers ({path}.0 to {path}.{count - 1}), as config.json says",
        got=f"nothing of {first_names(f'{path}.{number}' for number in missing)}",
        remedy="save or download the whole model again; correct config.json only if it was made shorter",
    )


def expert_problems(tensors: Mapping[str, Stored]) -> Iterator[UsageError]:
    """Experts of a layer that lack what the others have."""
    groups: dict[str, dict[int, set[str]]] = {}
    for name in tensors:
        if match := EXPERT.match(name):
            groups.setdefault(match[1], {}).setdefault(int(match[2]), set()).add(match[3])
    missing = []
    for path, experts in groups.items():
        whole = set().union(*experts.values())
        for number in range(max(experts) + 1):
            missing += [f"{path}.{number}.{part}" for part in sorted(whole - experts.get(number, set()))]
    if missing:
        yield UsageError(
            "parts of experts are missing from the weights",
            wanted="the same tensors for every expert of a layer",
            got=f"no {first_names(missing)}",
            remedy="save or download the whole model again",
        )


def _vocabulary(config: Mapping[str, Any], tensors: Mapping[str, Stored]) -> UsageError | None:
    """An embedding with another number of rows than the configuration's vocabulary."""
    stated = config.get("vocab_size")
    tables = {n: t.shape for n, t in tensors.items() if EMBEDDING.search(n) and len(t.shape) == 2}
    if not isinstance(stated, int) or len(tables) != 1:
        return None
    ((name, shape),) = tables.items()
    if shape[0] == stated:
        return None
    return UsageError(
        "another vocabulary than config.json says",
        wanted=f"{name} with {stated:,} rows (vocab_size)",
        got=f"{shape[0]:,} rows",
        remedy=f"vocab_size: {shape[0]} in config.json, if tokenizer and weights belong together",
    )


def _head(config: Mapping[str, Any], tensors: Mapping[str, Stored]) -> UsageError | None:
    """No output head, and none that is tied to the embedding."""
    if config.get("tie_word_embeddings") is not False:
        return None
    tables = [n for n, t in tensors.items() if len(t.shape) == 2 and t.shape[0] == config.get("vocab_size")]
    if len(tables) != 1 or not EMBEDDING.search(tables[0]):
        return None
    return UsageError(
        "no output head in the weights",
        wanted="a head of its own (lm_head.weight), as `tie_word_embeddings: false` in config.json says",
        got=f"{tables[0]} alone has {config['vocab_size']:,} rows",
        remedy="save the whole AutoModelForCausalLM (AutoModel leaves the head out); "
        "`tie_word_embeddings: true` where the embedding is the head",
    )


def first_names(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - SHOWN:,} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
