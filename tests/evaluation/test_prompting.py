from __future__ import annotations

import pytest

from finescale.evaluation.prompting import demonstrations, few_shot_prompts
from finescale.models.bundled import FOLDER
from finescale.models.tokenizer import open_tokenizer
from finescale.tasks.catalog import open_task
from finescale.tasks.task import Example, Task


@pytest.fixture(scope="module")
def tokenizer():
    return open_tokenizer(FOLDER)


@pytest.fixture(scope="module")
def task():
    return open_task("mini-en-de")


def test_a_one_shot_prompt_is_the_format_of_garcia_et_al(task, tokenizer) -> None:
    example = task.test["libreoffice"][5]
    (shown,) = demonstrations(task, example, 5, 1)
    prompts = few_shot_prompts(task, task.test["libreoffice"][:6], 1, tokenizer, None)
    assert tokenizer.decode(prompts.ids[5], skip_special_tokens=True).strip() == (
        f"English: {shown.source}\nGerman: {shown.target}\n\nEnglish: {example.source}\nGerman:"
    )
    assert shown in task.dev
    assert prompts.dropped == 0


def test_no_shots_are_the_prompts_of_training(task, tokenizer) -> None:
    from finescale.batches.encoding import encode

    examples = task.test["libreoffice"][:8]
    trained = encode(task, examples, tokenizer).examples
    prompts = few_shot_prompts(task, examples, 0, tokenizer, None)
    assert prompts.ids == [one.ids[: one.target_start].tolist() for one in trained]


def test_demonstrations_are_the_same_in_every_run_and_each_example_has_its_own(task) -> None:
    example = task.test["libreoffice"][0]
    draws = [demonstrations(task, example, index, 5) for index in range(20)]
    assert draws == [demonstrations(task, example, index, 5) for index in range(20)]
    sources = [tuple(shown.source for shown in draw) for draw in draws]
    assert len(set(sources)) == 20
    assert all(len(set(draw)) == 5 for draw in sources)
    assert demonstrations(task, example, 3, 1) == draws[3][:1]


def test_demonstrations_have_the_example_s_languages() -> None:
    def example(language: str, number: int) -> Example:
        return Example(f"{language}{number}", "t", {"language": language})

    dev = tuple(example(language, i) for language in ("German", "French") for i in range(4))
    task = Task("t", "{language}: {source}", 8, 8, (), dev, {})
    assert all(
        shown.fields["language"] == "French" for shown in demonstrations(task, example("French", 9), 0, 4)
    )
    assert len(demonstrations(task, example("French", 9), 0, 6)) == 6


def test_demonstrations_without_room_are_dropped_from_the_front_and_counted(task, tokenizer) -> None:
    examples = task.test["libreoffice"][:12]
    whole = few_shot_prompts(task, examples, 5, tokenizer, None)
    room = max(len(few_shot_prompts(task, [item], 0, tokenizer, None).ids[0]) for item in examples) + 60
    cut = few_shot_prompts(task, examples, 5, tokenizer, room)
    assert cut.dropped > 0
    for long, short in zip(whole.ids, cut.ids, strict=True):
        assert len(short) <= room
        assert long[-len(short) + 1 :] == short[1:]
