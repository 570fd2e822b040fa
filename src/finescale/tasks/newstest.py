"""WMT's test sets as sacrebleu has them: from a folder of copies, sacrebleu's own folder, or its download."""

from __future__ import annotations

from pathlib import Path

from finescale.errors import UsageError


def newstest(name: str, pair: str, folder: Path | None) -> list[tuple[str, str]]:
    """Sources and first references of a test set.

    Args:
        name: sacrebleu's name, e.g. `wmt20` or `wmt17/dev`.
        pair: Languages, e.g. `en-de`.
        folder: A folder of copies; its `sacrebleu` folder has the layout of sacrebleu's own.

    Raises:
        UsageError: The set is nowhere and cannot be downloaded, or its sides differ in length.
    """
    files = [] if folder is None else _copies(folder / "sacrebleu" / name, name, pair)
    if not all(file.is_file() for file in files) or not files:
        files = _official(name, pair, files)
    source, target = ([line.strip() for line in _lines(file)] for file in files)
    if len(source) != len(target):
        raise UsageError(
            "a test set whose sides differ in length",
            wanted="one reference a source",
            got=f"{len(source)} sources, {len(target)} references",
            where=", ".join(str(file) for file in files),
        )
    for line, texts in enumerate(zip(source, target, strict=True), start=1):
        for file, text in zip(files, texts, strict=True):
            if not text:
                raise UsageError("an empty line", wanted="text", got="nothing", where=f"{file}, line {line}")
    return list(zip(source, target, strict=True))


def _copies(folder: Path, name: str, pair: str) -> list[Path]:
    """Source and reference as sacrebleu names the text files that it makes."""
    stem = f"{name.replace('/', '_')}.{pair}"
    references = sorted(folder.glob(f"{stem}.ref*"))
    plain = folder / f"{stem}.ref"
    return [folder / f"{stem}.src", references[0] if references else plain]


def _official(name: str, pair: str, looked: list[Path]) -> list[Path]:
    """The files that sacrebleu has or downloads."""
    from sacrebleu.dataset import DATASETS  # noqa: PLC0415
    from sacrebleu.utils import SACREBLEU_DIR  # noqa: PLC0415

    test_set = DATASETS[name]
    try:
        return [Path(test_set.get_source_file(pair)), Path(sorted(test_set.get_reference_files(pair))[0])]
    except (OSError, SystemExit) as error:  # sacrebleu ends the process where a download is damaged
        places = [*(str(file) for file in looked[:1]), str(Path(SACREBLEU_DIR) / name)]
        raise UsageError(
            "a test set cannot be loaded",
            wanted=f"sacrebleu's {name}, {pair}",
            got=f"not found; looked in {' and '.join(places)}; its download: {error}",
            remedy=f"where there is a network: `sacrebleu -t {name} -l {pair} --echo src`; then copy "
            f"~/.sacrebleu/{name} into DATA_DIR/sacrebleu/{name}, or set SACREBLEU to a copy of ~/.sacrebleu",
            where="task",
        ) from None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(
            "invalid UTF-8", wanted="text in UTF-8", got="other bytes", where=f"{file}, line {line}"
        ) from None
