"""What a study names is read where it says, and written only inside the study's folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from finescale.cli.run import run
from finescale.errors import UsageError
from finescale.spec.file import load_study, parse_study
from finescale.spec.paths import exists, is_inside, resolve_path
from finescale.spec.run import ResumeSpec
from finescale.spec.study import Study

STUDY = """\
name: {name}
task: {task}
test_examples: 8
base: {{model: nano-0.05m}}
grids: [{{vary: model, values: [nano-0.05m], finetune_examples: {{{method}: [16]}}}}]
learning_rates: {{{method}: 0.01}}
"""


def study(name: str = "s", task: str = "mini-en-de", method: str = "full", more: str = "") -> str:
    return STUDY.format(name=name, task=task, method=method) + more


@pytest.mark.parametrize(
    "name", ["..", "../up", "/tmp/x", "a/b", ".hidden", "a\\b", "'~'", '"a\\n"', "x" * 81, "''"]
)
def test_a_study_s_name_is_no_path(name: str) -> None:
    with pytest.raises(UsageError, match=r"line 1, name: .*(.|\n)*letters, digits"):
        parse_study(study(name=name))


@pytest.mark.parametrize("name", ["../up", "/tmp/x", "a/b"])
def test_names_of_own_tasks_methods_and_models_are_no_paths(name: str) -> None:
    for text in (
        study(task=f"{{name: {name}, train: t.jsonl}}"),
        study(more=f"methods: {{{name}: {{peft: IA3Config}}}}\n"),
        study(more=f"models: {{{name}: {{from: m, pretrain_tokens: 9}}}}\n"),
        f"kind: pretrain\nname: p\nmodels: [nano-1m]\nlanguages: [{name}]\n",
    ):
        with pytest.raises(UsageError, match=r"letters, digits"):
            parse_study(text)


@pytest.mark.parametrize("revision", ["../other", "/etc", "a/../../b", "~x", "..\\x"])
def test_a_revision_stays_inside_the_model_s_folder(revision: str) -> None:
    own = f"{{from: m, revisions: {{'{revision}': 9}}}}"
    with pytest.raises(UsageError, match=r"models.m.revisions(.|\n)*a folder inside `from`"):
        parse_study(study(more=f"models: {{m: {own}}}\n"))
    own = f"{{from: m, revision: '{revision}', pretrain_tokens: 9}}"
    with pytest.raises(UsageError, match=r"models.m.revision: (.|\n)*a folder inside `from`"):
        parse_study(study(more=f"models: {{m: {own}}}\n"))


def test_a_place_for_checkpoints_has_no_way_up() -> None:
    assert ResumeSpec(url="s3://bucket/a..b/c").url == "s3://bucket/a..b/c"
    for url in ("s3://bucket/../other", "s3://bucket/a/..", "file:///etc", "/etc", "s3:///etc"):
        with pytest.raises(ValidationError):
            ResumeSpec(url=url)


def test_the_user_s_own_files_are_read_by_any_path(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "here").mkdir()
    for stated in (str(elsewhere / "t.jsonl"), "../elsewhere/t.jsonl"):
        (tmp_path / "here" / "s.yaml").write_text(study(task=f"{{name: mine, train: {stated}}}"))
        spec = load_study(tmp_path / "here" / "s.yaml")
        assert isinstance(spec, Study)
        assert spec.task.train == str(elsewhere / "t.jsonl")  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("stated", ["~nobody-of-this-name/x", "x" * 300])
def test_a_path_that_cannot_be_is_told_with_line_and_field(stated: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(study(task=f"{{name: mine, train: {stated}}}"))
    with pytest.raises(UsageError, match=r"^s.yaml, line 2, task.train: not a valid path"):
        load_study(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text(study(more=f"models: {{m: {{from: {stated}, pretrain_tokens: 9}}}}\n"))
    with pytest.raises(UsageError, match=r"^s.yaml, line 7, models.m.from: not a valid path"):
        load_study(tmp_path / "s.yaml")
    assert not exists("x" * 300)
    assert not exists("\0")
    with pytest.raises(UsageError, match=r"cannot be read"):
        load_study("x" * 300 + ".yaml")


def test_a_circle_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(UsageError, match=r"not a valid path"):
        resolve_path(tmp_path, "circle/x", "task.train")


def test_inside_is_told_by_the_text() -> None:
    assert all(map(is_inside, ("a", "a/b", "refs/pr/1", "a..b", "...")))
    assert not any(map(is_inside, ("..", "a/..", "/a", "~", "\\\\host\\x", "a\\..\\b")))


@pytest.mark.parametrize("name", ["runs", "tokens", "report", "runs/0123"])
def test_a_link_out_of_the_study_s_folder_is_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(study())
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(UsageError, match=r"a link out of the study's folder(.|\n)*--out"):
        run(tmp_path / "s.yaml", out=folder)
    assert not list(outside.iterdir())
    assert not (folder / "ledger.sqlite").exists()


def test_the_copy_in_a_study_s_folder_finds_the_files_of_the_study(tmp_path: Path) -> None:
    from finescale.study.opening import make_folder

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pairs.jsonl").write_text('{"source": "a", "target": "b"}\n')
    text = study(task="{name: own, train: pairs.jsonl}")
    (tmp_path / "mine" / "s.yaml").write_text(text)
    folder = tmp_path / "elsewhere" / "s"
    make_folder(folder, "s", text.encode(), tmp_path / "mine")
    assert load_study(folder / "study.yaml") == load_study(tmp_path / "mine" / "s.yaml")
    (folder / "study.origin").write_text("nowhere")  # the study file's folder is gone
    assert str(folder / "pairs.jsonl") in load_study(folder / "study.yaml").model_dump_json()


def test_the_study_s_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    from finescale.study.opening import make_folder

    (tmp_path / "s.yaml").write_text(study())
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "large-disk")
    make_folder(tmp_path / "folder", "s", study().encode())
    assert (tmp_path / "large-disk" / "study.yaml").read_text() == study()
