import pytest

from finescale.errors import UsageError
from finescale.tasks.catalog import TASKS, open_task


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_has_disjoint_splits_and_a_prompt(name):
    task = open_task(name)
    splits = [task.train, task.dev, *task.test.values()]
    keys = [{(e.source, e.target) for e in split} for split in splits]
    assert all(split for split in splits)
    assert all(not a & b for i, a in enumerate(keys) for b in keys[i + 1 :])
    assert task.test["libreoffice"][0].source in task.prompt(task.test["libreoffice"][0])


def test_the_prompts_are_the_documented_ones():
    german = open_task("mini-en-de")
    first = german.dev[0]
    assert german.prompt(first) == f"English: {first.source}\nGerman:"
    summary = open_task("mini-summarization")
    assert summary.prompt(summary.dev[0]).startswith("Summarize the following document in ")


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UsageError) as error:
        open_task("mini-en-dee")
    assert "unknown task 'mini-en-dee'" in str(error.value)
    assert "did you mean 'mini-en-de'?" in str(error.value)


@pytest.mark.parametrize("name", [".nan", "a b", "../up", "x" * 100])
def test_a_name_that_no_task_can_have_is_unknown(name):
    with pytest.raises(UsageError, match=r"^task: unknown task"):
        open_task(name)


def test_too_much_data_is_refused_with_what_there_is():
    with pytest.raises(UsageError, match="at most 26,022 finetuning examples") as error:
        open_task("mini-en-de").check_sizes(30_000, 500, "grids[0].finetune_examples.full")
    assert str(error.value).startswith("grids[0].finetune_examples.full: ")
    with pytest.raises(UsageError, match="at most 696"):
        open_task("mini-en-de").check_sizes(128, 700)


def test_the_content_hash_sees_the_template_and_every_example():
    from dataclasses import replace

    task = open_task("mini-en-de")
    assert task.content_hash() == open_task("mini-en-de").content_hash()
    assert task.content_hash().startswith("d69e90faeaefc0a6")
    assert replace(task, template="{source}").content_hash() != task.content_hash()
    assert replace(task, train=task.train[:-1]).content_hash() != task.content_hash()


def test_zero_shot_sets_are_pairs_that_the_training_never_sees_and_leave_the_content_hash_alone():
    from dataclasses import replace

    task = open_task("mini-en-de")
    assert {name: len(found) for name, found in task.zero_shot.items()} == {
        "zero-shot-to-de/fr": 573,
        "zero-shot-to-de/es": 560,
    }
    french = task.zero_shot["zero-shot-to-de/fr"][0]
    assert task.prompt(french) == f"French: {french.source}\nGerman:"
    known = {example.target for example in (*task.train, *task.dev)}
    assert not known & {example.target for found in task.zero_shot.values() for example in found}
    fewer = replace(task, zero_shot={"zero-shot-to-de/fr": task.zero_shot["zero-shot-to-de/fr"][:-1]})
    assert fewer.content_hash() == task.content_hash()
    assert fewer.zero_shot_hash() != task.zero_shot_hash()
    assert open_task("mini-en-zh").zero_shot == {}
