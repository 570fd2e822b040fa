import pytest
from architectures import tokenizer
from transformers import PreTrainedTokenizerFast

from finescale.errors import UsageError
from finescale.models.tokenizer import (
    MODES,
    SENTINELS,
    open_tokenizer,
    reserved_tokens,
    sentinel,
    train_tokenizer,
)

TEXTS = ["Öffnet die Größe der Datei.", "Opens the size of the file.", "naïve 中文 text"] * 50


def test_reserved_tokens_come_first_and_any_text_survives():
    tokenizer = train_tokenizer(TEXTS, 400, context=64)
    assert len(tokenizer) <= 400
    assert tokenizer.convert_tokens_to_ids(reserved_tokens()) == list(range(len(reserved_tokens())))
    assert len(reserved_tokens()) == 2 + len(MODES) + SENTINELS
    for text in ("Größe\n中文 😀", "a  b\tc"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text


def test_a_prompt_starts_with_the_prefix_mode_token_and_a_target_does_not():
    tokenizer = train_tokenizer(TEXTS, 400, context=64)
    start = tokenizer.convert_tokens_to_ids(MODES["prefix"])
    assert tokenizer("file")["input_ids"][0] == start
    assert start not in tokenizer("file", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_tokens_to_ids(sentinel(0)) != tokenizer.unk_token_id


def test_training_is_deterministic():
    first, second = (train_tokenizer(TEXTS, 400, 64).get_vocab() for _ in range(2))
    assert first == second


def test_a_tokenizer_without_padding_or_start_is_enough(tmp_path):
    tokenizer().save_pretrained(tmp_path)
    opened = open_tokenizer(tmp_path)
    assert (opened.pad_token_id, opened.bos_token_id) == (None, None)
    assert isinstance(opened.eos_token_id, int)


def test_the_end_of_sequence_may_be_the_configuration_s(tmp_path):
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer)
    plain.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="an end-of-sequence token"):
        open_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "eos_token_id": [5, 6]}')
    assert open_tokenizer(tmp_path).eos_token_id == 5
