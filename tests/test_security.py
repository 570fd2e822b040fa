"""Study files, tables, fits and checkpoints are data: nothing in src opens them as code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCES = sorted((Path(__file__).parents[1] / "src" / "finescale").rglob("*.py"))
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load",
    "joblib.load", "dill.load", "dill.loads", "marshal.loads", "shelve.open", "yaml.load", "yaml.full_load",
    "yaml.unsafe_load", "os.system", "os.popen", "np.load", "numpy.load", "pd.read_pickle",
    "pl.DataFrame.deserialize",
}  # fmt: skip


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path.name, ast.unparse(node.func), node


def test_no_call_opens_data_as_code() -> None:
    assert SOURCES
    assert [(file, name) for file, name, _ in calls() if name in FORBIDDEN] == []


def test_no_call_uses_a_shell_or_runs_a_model_s_code() -> None:
    for file, name, node in calls():
        for keyword in node.keywords:
            value = ast.unparse(keyword.value)
            assert keyword.arg not in ("shell", "trust_remote_code") or value == "False", (file, name)
            assert keyword.arg != "allow_pickle" or value == "False", (file, name)
            assert keyword.arg != "use_safetensors" or value == "True", (file, name)


def test_every_model_is_opened_from_safetensors() -> None:
    opened = [
        (file, {item.arg: ast.unparse(item.value) for item in node.keywords})
        for file, name, node in calls()
        if name.endswith("AutoModelForCausalLM.from_pretrained")
    ]
    assert opened
    plain = [keywords for _, keywords in opened if "gguf_file" not in keywords]  # GGUF holds no code either
    assert all(keywords.get("use_safetensors") == "True" for keywords in plain), opened
