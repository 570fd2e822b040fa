import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from finescale.batches.batching import Encoded
from finescale.batches.encoding import EncodedSet, encode, fit, frequent_tokens
from finescale.errors import UsageError
from finescale.models.tokenizer import train_tokenizer
from finescale.tasks.task import Example, Task

TEXTS = ["Opens the file menu.", "Öffnet das Dateimenü.", "English German : the the the"] * 50


def task(max_source=256, max_target=256):
    return Task("t", "English: {source}\nGerman:", max_source, max_target, (), (), {})


def example(source, target):
    return Example(source, target, {})


def test_prompt_target_and_end_are_one_sequence_with_the_loss_on_the_target():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    encoded = encode(task(), [example("Opens the file.", "Öffnet das Dateimenü.")], tokenizer)
    one = encoded.examples[0]
    assert tokenizer.decode(one.ids[1 : one.target_start]) == "English: Opens the file.\nGerman:"
    assert tokenizer.decode(one.ids[one.target_start : -1]) == " Öffnet das Dateimenü."
    assert one.ids[-1] == tokenizer.eos_token_id
    assert (encoded.cut_sources, encoded.cut_targets) == (0, 0)
    assert encoded.target_tokens == len(one.ids) - one.target_start


def test_long_sources_and_targets_are_cut_and_counted_and_the_template_survives():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    given = [example("the file menu " * 20, "das Dateimenü " * 20), example("the file", "das")]
    encoded = encode(task(max_source=8, max_target=5), given, tokenizer)
    assert (encoded.cut_sources, encoded.cut_targets) == (1, 1)
    one = encoded.examples[0]
    prompt = tokenizer.decode(one.ids[1 : one.target_start])
    assert prompt.startswith("English: the file")
    assert prompt.endswith("\nGerman:")
    assert one.target_tokens == 6
    source = prompt.removeprefix("English: ").removesuffix("\nGerman:")
    assert len(tokenizer(source, add_special_tokens=False)["input_ids"]) <= 8


def test_frequent_tokens_come_first_without_special_ones():
    given = [Encoded(np.array([5, 9, 9, 9, 7, 7, 1], dtype=np.int32), 1)]
    assert frequent_tokens(given, special=[1]) == [9, 7, 5]


def test_a_tokenizer_that_ends_every_text_does_not_end_the_prompt():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    plain = encode(task(), [example("the file", "das")], tokenizer).examples[0]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|prefix|> $A <|eos|>",
        special_tokens=[
            (token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|prefix|>", "<|eos|>")
        ],
    )
    assert tokenizer("the")["input_ids"][-1] == tokenizer.eos_token_id
    ended = encode(task(), [example("the file", "das")], tokenizer).examples[0]
    assert ended.ids.tolist() == plain.ids.tolist()
    assert ended.target_start == plain.target_start


def encoded_set(*lengths, start=4):
    uncut = np.zeros(len(lengths), dtype=bool)
    return EncodedSet(tuple(Encoded(np.arange(n, dtype=np.int32), start) for n in lengths), uncut, uncut)


def test_examples_are_cut_to_the_model_s_context_and_counted():
    given = encoded_set(6, 12, 9)
    assert fit(given, 12, 100) is given
    assert fit(given, None, 100) is given
    cut = fit(given, 8, 100)
    assert [len(example.ids) for example in cut.examples] == [6, 8, 8]
    assert (cut.cut_examples, cut.target_tokens) == (2, 2 + 4 + 4)


@pytest.mark.parametrize(
    ("given", "room", "vocabulary", "words"),
    [
        (encoded_set(6, 12, start=5), 5, 100, "no target token is left after truncation"),
        (encoded_set(6, start=0), 10, 100, "a prompt without tokens"),
        (encoded_set(6, 12), 20, 10, "ids below 10"),
    ],
)
def test_what_no_model_could_learn_from_is_refused(given, room, vocabulary, words):
    with pytest.raises(UsageError, match=words):
        fit(given, room, vocabulary)
