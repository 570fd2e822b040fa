import polars as pl
import pytest

from finescale.errors import UsageError
from finescale.records.expression import matches, parse_expression, written_out

FRAME = pl.DataFrame(
    {
        "model_params": [1e9, 2e9, 1.6e10],
        "finetune_examples": [1e5, None, 4.5e6],
        "task": ["a", "a", "b"],
        "held": [True, None, False],
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model_params>=1.5e10 or finetune_examples>=4.5e6", [False, False, True]),
        ("finetune_examples == max(finetune_examples)", [False, False, True]),
        ("1e9 < model_params <= 2 * 10**9", None),
        ("1e9 < model_params <= 10**10", [False, True, False]),
        ("not task in ['a'] and model_params > 0", [False, False, True]),
        ("held", [True, False, False]),
        ("finetune_examples != 1e5", [False, False, True]),
    ],
)
def test_expression_selects_rows_and_empty_cells_never_match(text, expected):
    if expected is None:
        with pytest.raises(UsageError):
            matches(FRAME, text)
        return
    assert matches(FRAME, text).to_list() == expected


def test_maximum_is_taken_inside_each_group():
    assert matches(FRAME, "model_params == max(model_params)", by=["task"]).to_list() == [False, True, True]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("task=a", "task == 'a'"),
        ("task == a or task != b", "task == 'a' or task != 'b'"),
        ("model = facebook/opt-1.3b", "model == 'facebook/opt-1.3b'"),
        ("model_params <= 7B and task = 'a and b'", "model_params <= 7B and task = 'a and b'"),
        ("finetune_examples<=50k and task=my task", "finetune_examples <= 50000.0 and task == 'my task'"),
        ("1e9 < model_params <= 10**10", "1e9 < model_params <= 10**10"),
        ("held == True", "held == True"),
        ("model_params == max(model_params)", "model_params == max(model_params)"),
    ],
)
def test_simple_comparisons_may_be_written_without_quotes_and_with_one_sign(text, meant):
    assert written_out(text) == meant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model_params = 1B", [True, False, False]),
        ("model_params != 16B and finetune_examples = 100k", [True, False, False]),
        ("model_params in ['1B', '16B']", [True, False, True]),
        ("'2B' <= model_params", [False, True, True]),
        ("max(model_params) == '16B'", [True, True, True]),
        ("task = 1B", [False, False, False]),
    ],
)
def test_sizes_written_as_in_tables_are_compared_with_columns_of_numbers(text, expected):
    assert matches(FRAME, text).to_list() == expected


def test_a_text_that_is_no_number_is_not_compared_with_numbers():
    with pytest.raises(UsageError, match="cannot be compared"):
        matches(FRAME, "model_params = llama")


def test_texts_without_quotes_select_rows():
    assert matches(FRAME, "task=a").to_list() == [True, True, False]
    assert matches(FRAME, "task=a and model_params >= 2B").to_list() == [False, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__",
        "open('x')",
        "[x for x in task]",
        "lambda: 1",
        "model_params := 3",
        "a.b > 1",
        "model_params[0] > 1",
        "f'{task}' == 'a'",
        "10**10**10 > 1",
        "1",
        "",
        "(" * 400,
        "x" * 3000,
        "not " * 400 + "held",
        "held and not (" * 60 + "held" + ")" * 60,
        "task in ['a', 1]",
        "task == b'a'",
        "model_params is None",
    ],
)
def test_anything_but_comparisons_is_refused(text):
    with pytest.raises(UsageError):
        parse_expression(text, FRAME.columns)


def test_unknown_column_names_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean `model_params`"):
        parse_expression("model_param > 1", FRAME.columns)


def test_text_compared_with_a_number_is_told_in_words():
    with pytest.raises(UsageError, match="cannot be compared"):
        matches(FRAME, "task > 3")


def test_numbers_beyond_every_column_are_compared_as_what_they_are():
    assert matches(FRAME, f"model_params < {10**300}").to_list() == [True, True, True]
    assert matches(FRAME, "model_params < " + "9" * 1500).to_list() == [True, True, True]
    assert matches(FRAME, f"model_params > -{2**63}").to_list() == [True, True, True]


@pytest.mark.parametrize(("text", "found"), [("max(model_params) > 1e10", True), ("1 == 2", False)])
def test_a_condition_that_is_the_same_for_all_rows_has_one_answer_a_row(text, found):
    assert matches(FRAME, text).to_list() == [found] * 3
    assert matches(FRAME, text, by=["task"]).len() == 3


def test_names_with_blanks_and_signs_stand_in_backquotes_and_case_does_not_count():
    frame = pl.DataFrame({"Eval Loss": [1.0, 3.0], "eval/acc": [0.5, 0.7], "State": ["a", "b"]})
    assert matches(frame, "`Eval Loss` < 2 or `eval/acc` > 0.9").to_list() == [True, False]
    assert matches(frame, "state == 'b'").to_list() == [False, True]
    with pytest.raises(UsageError, match="did you mean `Eval Loss`"):
        parse_expression("`Eval Lss` < 2", frame.columns)
