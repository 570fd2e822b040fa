from __future__ import annotations

import json
from pathlib import Path

import pytest

from finescale.models.bundled import find_checkpoint
from finescale.models.remembered import sizes_in
from finescale.models.sizes import sizes_of_folder


def test_sizes_are_counted_once_a_configuration_and_anew_where_what_was_kept_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = find_checkpoint("nano-0.05m", "last").folder
    counted = sizes_of_folder(folder)
    wanted = counted.params, counted.nonembedding_params, counted.active_params
    assert sizes_in(folder) == wanted
    (kept,) = tmp_path.glob("finescale/sizes/*.json")
    kept.write_text(json.dumps([7, 5, 6]))
    assert sizes_in(folder) == (7, 5, 6)  # read, not counted
    for damaged in ("", "[1, 2]", "[5, 7, 1]", '["a", 1, 1]', "{}"):
        kept.write_text(damaged)
        assert sizes_in(folder) == wanted
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert sizes_in(folder) == wanted
