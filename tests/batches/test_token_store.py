from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finescale.batches.batching import Encoded
from finescale.batches.encoded import EncodedSet
from finescale.batches.token_store import TokenStore

CONTENTS = {"data": "d", "tokenizer": "t", "seed": 0}


def made(count: int) -> EncodedSet:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 12, count)
    examples = tuple(Encoded(rng.integers(0, 99, n).astype(np.int32), int(n) - 2) for n in lengths)
    return EncodedSet(examples, np.arange(count) % 2 == 0, np.arange(count) % 3 == 0)


def never() -> EncodedSet:
    raise AssertionError("tokenised again")


def same(found: EncodedSet, wanted: EncodedSet) -> bool:
    pairs = zip(found.examples, wanted.examples, strict=True)
    return all(a.ids.tolist() == b.ids.tolist() and a.target_start == b.target_start for a, b in pairs)


def test_what_was_tokenised_once_is_read_and_a_smaller_run_reads_its_beginning(tmp_path: Path) -> None:
    assert same(TokenStore(tmp_path).first(CONTENTS, 20, lambda: made(20)), made(20))
    for count in (20, 7, 1):
        found = TokenStore(tmp_path).first(CONTENTS, count, never)
        assert same(found, EncodedSet(made(20).examples[:count], np.zeros(count), np.zeros(count)))
        assert (found.cut_sources, found.cut_targets) == (-(-count // 2), -(-count // 3))
        assert found.target_tokens == 2 * count


def test_a_larger_set_takes_the_place_of_a_smaller_one(tmp_path: Path) -> None:
    TokenStore(tmp_path).first(CONTENTS, 5, lambda: made(5))
    TokenStore(tmp_path).first(CONTENTS, 9, lambda: made(9))
    (file,) = tmp_path.iterdir()
    assert file.name.split("-")[1] == "9"


@pytest.mark.parametrize("name", CONTENTS)
def test_other_contents_have_a_file_of_their_own(tmp_path: Path, name: str) -> None:
    TokenStore(tmp_path).first(CONTENTS, 5, lambda: made(5))
    with pytest.raises(AssertionError, match="tokenised again"):
        TokenStore(tmp_path).first({**CONTENTS, name: "other"}, 5, never)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str) -> None:
    TokenStore(tmp_path).first(CONTENTS, 50, lambda: made(50))
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes({"cut": content[:-30], "flipped": content, "empty": b""}[damage])
    assert same(TokenStore(tmp_path).first(CONTENTS, 50, lambda: made(50)), made(50))
    assert same(TokenStore(tmp_path).first(CONTENTS, 50, never), made(50))


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert same(TokenStore(tmp_path / "file").first(CONTENTS, 5, lambda: made(5)), made(5))


def test_which_tokens_carry_a_loss_is_kept(tmp_path: Path) -> None:
    whole = made(6)
    examples = []
    for index, one in enumerate(whole.examples):
        loss = np.arange(len(one.ids)) % 2 == 1
        examples.append(one if index % 2 else Encoded(one.ids, 1, loss))
    given = EncodedSet(tuple(examples), whole.source_cut, whole.target_cut)
    TokenStore(tmp_path).first(CONTENTS, 6, lambda: given)
    found = TokenStore(tmp_path).first(CONTENTS, 6, never)
    pairs = zip(found.examples, given.examples, strict=True)
    assert all(a.predicted.tolist() == b.predicted.tolist() for a, b in pairs)
    assert found.target_tokens == given.target_tokens
