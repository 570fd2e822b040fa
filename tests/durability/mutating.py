"""Malformed study files and tables of runs, each made from nothing but its number."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import yaml

ROOT = Path(__file__).parents[2]
KINDS = ("study", "csv", "tsv", "jsonl", "parquet", "fit")
SHARES = (50, 14, 4, 12, 14, 6)
"""Of a hundred inputs, how many are of each kind."""
EVERY_KEY = """\
kind: finetune
name: every-key
task: {name: mine, train: pairs.jsonl, source: s, target: t, template: "{source}\\n", max_source_tokens: 64}
models:
  tiny:
    {from: ./tiny, revision: main, pretrain_tokens: 1e9, revisions: {step10: 1e8}, params: 9e3,
     nonembedding_params: 5e3}
methods:
  dora: {peft: LoraConfig, use_dora: true}
  ia3: {peft: IA3Config, feedforward_modules: [up, down]}
  lora: {lora_alpha: 8}
seeds: [0, 1]
test_examples: 8
base: {model: nano-0.3m, pretrain_tokens: last, pet_size: {lora: 4, prompt: 16, dora: 2}}
grids:
  - vary: model
    values: [nano-0.05m, tiny]
    finetune_examples: {full: [128], lora: [128, 256], dora: [64], ia3: [64]}
  - vary: pretrain_tokens
    values: [1765376, last]
    finetune_examples: {full: [128], lora: [256]}
    seeds: [3]
  - {vary: pet_size, values: {lora: [2, 8], prompt: [4]}, finetune_examples: {lora: [128], prompt: [128]}}
hold_out: "model_params >= 3e5 or finetune_examples == max(finetune_examples)"
learning_rates:
  full:
    - {optimizer: adafactor, rates: [1e-3, 3e-3]}
    - {optimizer: {name: adamw, weight_decay: 0.1}, rates: 1e-3}
  lora: [1e-2, 3e-2]
  prompt: 0.1
  dora: 1e-2
  ia3: 1e-2
batch_sizes: {full: [8, 32]}
sweep: {model: nano-0.05m, finetune_examples: 128, seed: 1}
train:
  optimizer: {full: {parameter_scaling: true}, lora: adamw}
  epochs: {full: 2, lora: 4}
  patience: 3
  precision: bf16
evaluation:
  {metrics: [chrf], examples: 4, shots: [0, 1], zero_shot: true, forgetting: {rows: 2}, checkpoints: {}}
keep: adapters
resume: {every_seconds: 60, every_steps: 5, url: "s3://bucket/place"}
resources: {full: {cpus: 2, gpus: 0.5, memory: 8e9, workers: 2, hours: 3}}
retries: {broken: 3, diverged: 1}
"""
LARGE = "9" * 39
WORDS: tuple[str, ...] = (
    "", " ", "\t", "\n", "\x00", "\x01", "\x1b[31m", "\x1b]0;title\x07", "\x7f", "\x85", "\u202e", "\u2028",
    "\ufeff", "\ufffe", "\ud800", "a\nb", "a,b;c\td", '"', "'", "\\", "{", "}", "[", "]", "&a", "*a", "!x",
    "!!python/object/apply:os.system [true]", "<script>alert(1)</script>", "../../up", "/etc/passwd", "~",
    "~nobody-here/x", "C:\\x", "%s%n", "{0.__class__}", "$(true)", "翻译", "é" * 50, "a" * 300, "x" * 5000,
    "nan", "NaN", ".nan", "inf", "-.inf", "1e999", "-1e999", "1e-999", "0x10", "0o7", "1_000", "1,000", "7B",
    "true", "null", "~null", "2024-01-01", "12:30:45", "-0", LARGE, "-" + LARGE, "1" * 5000, "0.1.2",
    "None", "last", "full", "lora", "none", "nano-0.3m", "--help", "-rf", "con", ".", "..", "a/b", "s3://x",
    "[bold red]x[/]", "[/]", "{source", "max(x)", "__import__('os')", "(" * 300, "not " * 300, "1 in [1]",
    "model == 'x' == 3", "seed >= 1e400", "task", "model_params", "max(task) > 1", "9**9**9 > 1",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 2**31, 2**31 - 1, 2**53 + 1, 2**63, 2**64, -(2**63), 10**15, 10**15 + 1, 10**30, 10**38,
    0.0, -0.0, 1.5, -2.5, 1e-300, 5e-324, 1e300, 1.7e308, float("inf"), float("-inf"), float("nan"), 1e15,
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """A file that somebody might hand to finescale.

    Attributes:
        kind: One of `KINDS`.
        data: The file's content.
    """

    kind: str
    data: bytes

    @property
    def name(self) -> str:
        """A file name that says what it claims to be."""
        return {"study": "hostile.yaml", "fit": "hostile.json"}.get(self.kind, f"hostile.{self.kind}")


def make(index: int) -> Input:
    """The input with a number: always the same one."""
    chance = random.Random(f"finescale {index}")
    kind = chance.choices(KINDS, SHARES)[0]
    if kind == "study":
        return Input(kind, _damaged(chance, _study(chance), 0.35))
    if kind == "fit":
        return Input(
            kind,
            _damaged(
                chance,
                _json(_changed(chance, json.loads(_fit()), chance.choice((1, 2, 8)))).encode(
                    "utf-8", "surrogatepass"
                ),
                0.2,
            ),
        )
    data = _parquet(chance) if kind == "parquet" else _text_table(chance, kind)
    return Input(kind, _damaged(chance, data, 0.35))


# Study files


@cache
def _texts() -> tuple[str, ...]:
    files = sorted((ROOT / "studies").rglob("*.yaml"))
    return (EVERY_KEY, EVERY_KEY, *(file.read_text(encoding="utf-8") for file in files))


@cache
def _parsed(text: str) -> str:
    return json.dumps(yaml.safe_load(text))


def _study(chance: random.Random) -> bytes:
    """A study file that is wrong in its values, in its shape, or in its text."""
    text = chance.choice(_texts())
    way = chance.random()
    if way < 0.55:
        data = _changed(chance, json.loads(_parsed(text)), chance.choice((1, 1, 1, 2, 3, 8)))
        style = chance.choice((None, True, False))
        try:
            return yaml.safe_dump(
                data, sort_keys=False, allow_unicode=chance.random() < 0.5, default_flow_style=style
            ).encode("utf-8", "surrogatepass")
        except (yaml.YAMLError, RecursionError):
            return text.encode()
    if way < 0.75:
        return _lines(chance, text).encode("utf-8", "surrogatepass")
    if way < 0.85:
        return chance.choice(_SHAPES)(chance).encode("utf-8", "surrogatepass")
    return text.encode()


def _changed(chance: random.Random, data: Any, times: int) -> Any:
    """Plain data with values replaced, keys renamed, added or removed, lists repeated, levels added."""
    for _ in range(times):
        place, key = _somewhere(chance, data)
        if place is None:
            return _hostile(chance)
        deed = chance.randrange(9)
        if deed < 4:
            place[key] = _hostile(chance)
        elif deed == 4:
            del place[key]
        elif deed == 5 and isinstance(place, dict):
            place[_word(chance)] = place.pop(key)
        elif deed == 6 and isinstance(place, dict):
            place[_word(chance)] = _hostile(chance)
        elif deed == 7:
            place[key] = [place[key]] * chance.choice((0, 2, 2, 50))
        else:
            for _ in range(chance.choice((1, 2, 30))):
                place[key] = {_word(chance): place[key]} if chance.random() < 0.5 else [place[key]]
    return data


def _somewhere(chance: random.Random, data: Any) -> tuple[Any, Any]:
    """A mapping or list inside the data with one of its keys."""
    places: list[tuple[Any, Any]] = []
    waiting = [data]
    while waiting:
        at = waiting.pop()
        keys: Sequence[Any] = (
            list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        )
        places += [(at, key) for key in keys]
        waiting += [at[key] for key in keys]
    return chance.choice(places) if places else (None, None)


def _word(chance: random.Random) -> str:
    return chance.choice(WORDS)


def _hostile(chance: random.Random) -> Any:
    way = chance.randrange(10)
    if way < 4:
        return _word(chance)
    if way < 7:
        return chance.choice(NUMBERS)
    return chance.choice((None, True, False, [], {}, [[]], [None], {"a": 1}, [1, "a"], {"": ""}, [0.1, 1e-3]))


def _lines(chance: random.Random, text: str) -> str:
    """Lines repeated, dropped, swapped, indented; words and marks put in."""
    lines = text.split("\n")
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(lines))
        deed = chance.randrange(6)
        if deed == 0:
            lines.insert(chance.randrange(len(lines)), lines[at])
        elif deed == 1 and len(lines) > 1:
            del lines[at]
        elif deed == 2:
            lines[at] = chance.choice((" ", "  ", "\t", "- ", "# ", "? ", ": ", "--- ", "...")) + lines[at]
        elif deed == 3:
            cut = chance.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:cut] + _word(chance) + lines[at][cut:]
        elif deed == 4:
            lines[at] = lines[at].replace(chance.choice(":,{}[]- "), _word(chance), 1)
        else:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
    return "\n".join(lines)


def _bomb(chance: random.Random) -> str:
    wide, deep = chance.choice((2, 10)), chance.choice((3, 12, 40))
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * wide)}]" for i in range(1, deep)]
    return "\n".join(lines) + f"\nname: n\ngrids: *a{deep - 1}\n"


_SHAPES: tuple[Callable[[random.Random], str], ...] = (
    _bomb,
    lambda chance: chance.choice(("[", "{a: ", "- ", "? ", "a: {")) * chance.choice((10, 21, 1000, 100_000)),
    lambda chance: chance.choice(
        ("", "\n", "#", "---", "...", "---\n---", "null", "[]", "{}", "0", "\ufeff")
    ),
    lambda chance: "name: &x [*x]\n" + chance.choice(_texts()),
    lambda chance: "base: &b {<<: *b}\n<<: {name: x}\n",
    lambda chance: chance.choice(_texts()) + "\n---\n" + chance.choice(_texts()),
    lambda chance: (
        f"seeds: [{', '.join(map(str, range(chance.choice((1000, 60_000)))))}]\n"
        + chance.choice(_texts()).replace("seeds:", "sedes:")
    ),
    lambda chance: chance.choice(_texts()).replace("name:", f"{_word(chance)}:", 1),
    lambda chance: "%YAML 9.9\n---\n" + chance.choice(_texts()),
    lambda chance: "name: |\n" + "  x\n" * chance.choice((10, 300_000)),
    lambda chance: "{" + ", ".join(f"k{i}: {i}" for i in range(chance.choice((10, 20_000)))) + "}",
    lambda chance: "? {a: b}\n: c\n",
)


# Tables of runs, and fitted laws


@cache
def _runs() -> pl.DataFrame:
    return pl.read_parquet(ROOT / "examples" / "nano_full.parquet")


def _some_runs(chance: random.Random) -> pl.DataFrame:
    """A few rows of a real table, with some of its columns renamed, repeated or left out."""
    frame = _runs().sample(chance.choice((0, 1, 3, 12)), seed=chance.randrange(2**31))
    if chance.random() < 0.3:
        frame = frame.drop(chance.sample(frame.columns, chance.choice((1, 3, 20, len(frame.columns)))))
    if chance.random() < 0.2 and frame.width:
        name = _word(chance)
        if name not in frame.columns and "\ud800" not in name:
            frame = frame.rename({chance.choice(frame.columns): name})
    return frame


def _text_table(chance: random.Random, kind: str) -> bytes:
    """CSV or JSON lines with hostile cells, rows of other lengths, other marks and ends of line."""
    frame = _some_runs(chance)
    if kind == "jsonl":
        rows: list[Any] = frame.to_dicts()
        for _ in range(chance.choice((0, 1, 2, 5))):
            rows = _changed(chance, rows, 1) if rows else rows
            if not isinstance(rows, list):
                rows = [rows]
        text = "\n".join(_json(row) for row in rows)
        return text.encode("utf-8", "surrogatepass")
    mark = "\t" if kind == "tsv" else chance.choice((",", ",", ";", "\t", "|"))
    cells = [list(frame.columns), *([_cell(value) for value in row] for row in frame.iter_rows())]
    for _ in range(chance.choice((0, 1, 2, 5))):
        row = chance.choice(cells)
        deed = chance.randrange(5)
        if deed < 3 and row:
            row[chance.randrange(len(row))] = chance.choice((_word(chance), str(chance.choice(NUMBERS))))
        elif deed == 3:
            row.append(_word(chance))
        elif row:
            row.pop()
    quote = chance.random() < 0.5
    lines = [
        mark.join('"' + cell.replace('"', '""') + '"' if quote and cell else cell for cell in row)
        for row in cells
    ]
    return chance.choice(("\n", "\n", "\r\n", "\r", "\n\n")).join(lines).encode("utf-8", "surrogatepass")


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parquet(chance: random.Random) -> bytes:
    """Parquet with columns of other types and hostile values."""
    frame = _some_runs(chance)
    for _ in range(chance.choice((0, 1, 2, 4))):
        if not frame.width:
            break
        name = chance.choice(frame.columns)
        value = _hostile(chance)
        try:
            changed: Any = pl.Series(name, [value] * frame.height, strict=False)
            if chance.random() < 0.5:
                changed = frame[name].cast(chance.choice(_TYPES), strict=False)
            elif chance.random() < 0.5 and frame.height:
                changed = frame[name].scatter(chance.randrange(frame.height), value)
            elif chance.random() < 0.2:
                changed = chance.choice((pl.struct(pl.all()), pl.concat_list(pl.lit(1), pl.lit(2)))).alias(
                    name
                )
            frame = frame.with_columns(changed)
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError, UnicodeEncodeError):
            continue
    out = io.BytesIO()
    try:
        frame.write_parquet(out, compression=chance.choice(("zstd", "uncompressed", "snappy", "lz4", "gzip")))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        _runs().head(3).write_parquet(out)
    return out.getvalue()


_TYPES: tuple[Any, ...] = (
    pl.String, pl.Binary, pl.Categorical, pl.Boolean, pl.Int8, pl.UInt64, pl.Int128, pl.Float32, pl.Date,
    pl.Datetime, pl.Duration, pl.Time, pl.Decimal(38, 3), pl.List(pl.Float64), pl.Null,
)  # fmt: skip


@cache
def _fit() -> str:
    from finescale.laws.fit import fit

    return _json(fit(_runs(), bootstrap=3).to_dict())


def _damaged(chance: random.Random, data: bytes, share: float) -> bytes:
    """Bytes cut, flipped, repeated or put in; or left as they are."""
    if chance.random() >= share:
        return data
    for _ in range(chance.choice((1, 1, 2, 10))):
        at = chance.randrange(len(data) + 1)
        deed = chance.randrange(7)
        if deed == 0:
            data = data[:at]
        elif deed == 1 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        elif deed == 2:
            data = data[:at] + chance.randbytes(chance.choice((1, 4, 100))) + data[at:]
        elif deed == 3:
            data = data[:at] + data[at + chance.choice((1, 4, 100)) :]
        elif deed == 4:
            data = chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\x1f\x8b", b"PAR1", b"\n")) + data
        elif deed == 5:
            data = data[:at] + data[at : at + 50] * chance.choice((2, 100)) + data[at:]
        else:
            data = data[:at] + _word(chance).encode("utf-8", "surrogatepass") + data[at:]
    return data
