"""Which packages the corpus build gets, and how; apt-get is replaced by a stand-in."""

import os
import shutil
import subprocess
from pathlib import Path

import fetch
import help_pages
import pytest
from corpus_samples import write

from finescale.errors import DataError, UsageError


def test_the_tables_name_every_package_that_the_readers_want():
    names = {package.name: package.reads for package in fetch.read_packages()}
    assert names["evolution-common"] == ("mo", "page")
    assert {package for package, _ in help_pages._EDITIONS.values()} <= names.keys()
    assert {"manpages", "manpages-de-dev", "gimp-help-zh-cn", "debian-handbook"} <= names.keys()
    assert fetch.read_wheels()["django"] == "5.2.19"


@pytest.mark.parametrize(
    ("reads", "path", "wanted"),
    [
        ("mo", "./usr/share/locale/zh_CN/LC_MESSAGES/git.mo", True),
        ("mo", "./usr/share/locale/it/LC_MESSAGES/git.mo", False),
        ("mo", "./usr/share/doc/git/index.html", False),
        ("page", "./usr/share/help/C/gnome-help/mouse.page", True),
        ("page", "./usr/share/help/pl/gnome-help/mouse.page", False),
        ("man", "./usr/share/man/de/man1/ls.1.gz", True),
        ("html", "./usr/share/gimp/2.0/help/de/index.html", True),
        ("html", "./usr/share/gimp/2.0/help/images/a.png", False),
    ],
)
def test_only_the_files_that_are_read_are_unpacked(reads, path, wanted):
    assert fetch.Package("any", "1", (reads,)).wants(path) is wanted


def test_a_bad_line_in_the_package_table_is_told_with_its_place(tmp_path):
    table = write(tmp_path / "packages.txt", "# comment\ngit 1:2.39 mo\nvim 2 pdf\n")
    with pytest.raises(UsageError) as error:
        fetch.read_packages(table)
    assert str(error.value) == (
        f"{table}, line 3: this line does not name a package\n"
        "  wanted: name, version and what is read (html, page, man, mo, joined by commas)\n"
        "  got: vim 2 pdf\n"
        "  remedy: correct the line"
    )


def test_an_unpinned_wheel_is_told_with_its_place(tmp_path):
    with pytest.raises(
        UsageError, match=r"line 1: this line does not pin a wheel\n  wanted: name==version\n  got: django"
    ):
        fetch.read_wheels(write(tmp_path / "wheels.txt", "django\n"))


def test_without_apt_the_error_names_debian(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match="apt-get is missing\n  wanted: a Debian 12 machine"):
        fetch.fetch(tmp_path, print)


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    """A package archive of one package, behind a stand-in for apt-get that copies it."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is missing: this machine is not a Debian one")
    tree = tmp_path / "tree"
    write(
        tree / "DEBIAN/control",
        "Package: foo\nVersion: 1:2.0-3\nArchitecture: all\nMaintainer: a\nDescription: b\n",
    )
    write(tree / "usr/share/locale/de/LC_MESSAGES/foo.mo", "a catalogue")
    write(tree / "usr/share/doc/foo/index.html", "<p>not read</p>")
    (tree / "usr/share/locale/de/LC_MESSAGES/link.mo").symlink_to("foo.mo")
    subprocess.run(["dpkg-deb", "--build", tree, tmp_path / "foo.deb"], check=True, capture_output=True)
    tool = write(
        tmp_path / "bin/apt-get",
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$4" = update ] || cp {tmp_path}/foo.deb "./$5.deb"\n',
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(fetch, "read_packages", lambda: [fetch.Package("foo", "1:2.0-3", ("mo",))])
    monkeypatch.setattr(fetch, "read_wheels", dict)
    return tmp_path


def test_fetch_keeps_wanted_files_notes_the_version_and_fetches_once(archive):
    sources = write(archive / "debian.sources", "Types: deb\n")
    steps: list[str] = []
    for _ in range(2):
        assert fetch.fetch(archive / "work", steps.append, sources) == {"foo": "1:2.0-3"}
    assert steps == ["package lists", "foo"] * 2
    texts = archive / "work/texts"
    assert sorted(path.name for path in texts.rglob("*") if path.is_file()) == ["foo.mo", "package.json"]
    assert [line.split()[3] for line in (archive / "calls").read_text().splitlines()] == [
        "update",
        "download",
        "update",
    ]
    apt = archive / "work" / "apt"
    assert f'Dir::State::lists "{apt}/lists";' in (apt / "apt.conf").read_text()
    assert (archive / "work/apt/sources/debian.sources").read_text() == "Types: deb\n"


def test_a_failed_download_is_told_and_leaves_no_half_package(archive):
    write(
        archive / "bin/apt-get",
        '#!/bin/sh\n[ "$4" = update ] || { echo "E: no such package" >&2; exit 100; }\n',
    )
    with pytest.raises(
        DataError, match=r"cannot get foo\n  wanted: apt-get .* download foo\n  got: E: no such package"
    ):
        fetch.fetch(archive / "work", print, write(archive / "debian.sources", "Types: deb\n"))
    assert not (archive / "work/texts/foo").exists()


def test_missing_sources_are_told(archive):
    with pytest.raises(
        UsageError, match=r"no apt sources for Debian\n.*\n  remedy: name a sources file with --sources"
    ):
        fetch.fetch(archive / "work", print, archive / "absent.sources")
