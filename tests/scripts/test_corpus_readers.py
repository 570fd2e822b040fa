"""The readers of the corpus build, on small samples in the real formats."""

import gzip
import shutil
from collections import Counter
from pathlib import Path

import catalogues
import help_pages
import manpages
import manuals
import markup
import pytest
from corpus_samples import mo, write
from texts import Document, Pair, Text

from finescale.errors import DataError

HELP_PAGE = """<!DOCTYPE html><html><head><title>Symbolleiste</title><script>var a = "<p>no</p>";</script>
</head><body><div id="DisplayArea"><a name="chart"></a>
   <h1 id="hd_id1" dir="auto">Symbolleiste Format</h1>
   <p id="par_id2" class="paragraph">Doppelklicken Sie auf ein
     <span class="avis">Diagramm</span>&nbsp;&amp; warten Sie.</p>
   <table><tr><td><p id="par_id3">Die <img src="a.png"> Zelle</p></td><td></td></tr></table>
   <ul><li>Ein Punkt<ul><li id="par_id4">Ein innerer Punkt</li></ul></li></ul>
</div></body></html>"""

GIMP_PAGE = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<html xmlns="http://www.w3.org/1999/xhtml"><head><title>5.7. Exportdialoge</title>
<link rel="home" href="index.html" /></head><body>
<div class="navheader"><table><tr><th colspan="3">5.7. Exportdialoge</th></tr></table><hr /></div>
<h3 class="title"><a id="gimp-export-dialog"></a>5.7. Exportdialoge</h3>
<p>
    <acronym class="acronym">GIMP</acronym> speichert mit
    <span class="guimenu">Datei</span> → <span class="guimenuitem">Exportieren</span>.
</p></body></html>"""

REFERENCE_PAGE = """<html><body><h1 class="title"><a id="_package"/>Kapitel 2. Paketverwaltung</h1>
<dl class="toc"><dt><a href="ch02.de.html">2.1. Grundlagen</a></dt>
<dd><dl><dt>2.1.1. Konfiguration</dt></dl></dd></dl>
</body></html>"""

MALLARD_PAGE = b"""<?xml version="1.0" encoding="utf-8"?>
<page xmlns="http://projectmallard.org/1.0/" xmlns:its="http://www.w3.org/2005/11/its"
  type="topic" id="mouse-drag">
  <info><link type="guide" xref="mouse"/><desc>Move the pointer
  without a mouse.</desc><its:rules version="1.0"/></info>
  <title>Mouse keys</title>
  <steps><item><p>Open
  <gui>Accessibility</gui> and <!-- a comment --> press <key>Enter</key>.</p></item></steps>
</page>"""

MAN_PAGE = r""".\" a comment
.TH DUMMY 1 2023-02-05 "Linux man-pages"
.SH BEZEICHNUNG
dummy \- eine Attrappe
.SH "BESCHREIBUNG UND GEBRAUCH"
Der Befehl
.BR dummy (1)
liest
.I "die Datei"
und endet\(en immer\&.
.PP
Kein \fBFehler\fP, kein \f[I]Zweifel\f[].
.EX
dummy --example
.EE
.TP
.B \-a
Alles.
"""

DEP11 = """---
File: DEP-11
Version: '0.14'
---
Type: desktop-application
Package: libfoo1.2-dev
Summary:
  C: A tool
Description:
  C: >-
    <p>Foo draws maps.</p>
    <ul><li>It is fast &amp; small.</li></ul>
  de: '<p>Foo zeichnet Karten.</p>'
  pt: '<p>Foo.</p>'
---
Type: font
Package: fonts-bar
"""


@pytest.mark.parametrize("order", ["<", ">"])
def test_catalogue_messages_come_without_context_and_plurals(order):
    data = mo(
        {"menu\x04&Open file": "Datei ö&ffnen", "one\0many": "eins\0viele", "Close": "Schließen"}, order=order
    )
    assert dict(catalogues.read_mo(data)) == {"&Open file": "Datei ö&ffnen", "Close": "Schließen"}


def test_catalogue_is_read_in_its_own_encoding():
    assert list(catalogues.read_mo(mo({"Close": "Schließen"}, charset="iso-8859-1"))) == [
        ("Close", "Schließen")
    ]


def test_a_file_that_is_no_catalogue_is_refused():
    with pytest.raises(ValueError, match="not a message catalogue: it starts with 3c68746d"):
        list(catalogues.read_mo(b"<html></html>"))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("&Save <b>all</b> files", "Save all files"),
        ("Speichern (&S) ~jetzt", "Speichern jetzt"),
        ("Fish &amp; chips\nfor two", "Fish & chips for two"),
    ],
)
def test_message_loses_markup_and_accelerator_keys(message, text):
    assert catalogues.clean_message(message) == text


def test_catalogues_yield_german_and_chinese_without_format_strings(tmp_path):
    german = mo(
        {"Save all files": "Alle Dateien sichern", "%d files": "%d Dateien", "{name} is here": "{name} da"}
    )
    write(tmp_path / "foo-data/usr/share/locale/de/LC_MESSAGES/foo.mo", german)
    write(
        tmp_path / "pypi_foo/foo/locale/zh_Hans/LC_MESSAGES/django.mo", mo({"Save all files": "保存所有文件"})
    )
    write(tmp_path / "foo-data/usr/share/locale/it/LC_MESSAGES/foo.mo", mo({"Save": "Salva"}))
    assert list(catalogues.read_catalogues(tmp_path)) == [
        Pair("de", "Save all files", "Alle Dateien sichern", "mo:foo-data"),
        Pair("zh", "Save all files", "保存所有文件", "mo:pypi_foo"),
    ]


def test_help_page_gives_its_innermost_blocks_with_their_ids():
    assert [(block.key, block.text) for block in markup.html_blocks(HELP_PAGE)] == [
        ("hd_id1", "Symbolleiste Format"),
        ("par_id2", "Doppelklicken Sie auf ein Diagramm & warten Sie."),
        ("par_id3", "Die Zelle"),
        ("par_id4", "Ein innerer Punkt"),
    ]


def test_a_paragraph_ends_where_a_block_begins():
    page = "<body><p>One<p>Two<ul><li>Three</ul><p>Four<br>and <b>half</body>"
    assert [block.text for block in markup.html_blocks(page)] == ["One", "Two", "Three", "Fourand half"]


def test_gimp_and_debian_reference_pages_lose_their_navigation_markup():
    assert [block.text for block in markup.html_blocks(GIMP_PAGE)] == [
        "5.7. Exportdialoge",
        "5.7. Exportdialoge",
        "GIMP speichert mit Datei → Exportieren.",
    ]
    assert [block.text for block in markup.html_blocks(REFERENCE_PAGE)] == [
        "Kapitel 2. Paketverwaltung",
        "2.1. Grundlagen",
        "2.1.1. Konfiguration",
    ]


def test_mallard_page_gives_description_title_and_paragraphs():
    assert [(block.key, block.text) for block in markup.mallard_blocks(MALLARD_PAGE)] == [
        ("desc", "Move the pointer without a mouse."),
        ("title", "Mouse keys"),
        ("p", "Open Accessibility and press Enter."),
    ]


def test_man_page_gives_running_text_without_examples():
    assert manpages.paragraphs(MAN_PAGE) == [
        "BEZEICHNUNG",
        "dummy - eine Attrappe",
        "BESCHREIBUNG UND GEBRAUCH",
        "Der Befehl dummy(1) liest die Datei und endet– immer.",
        "Kein Fehler, kein Zweifel.",
        "-a Alles.",
    ]


def test_man_pages_of_one_name_are_one_group_and_references_are_left_out(tmp_path):
    page = gzip.compress("\n".join(f"Absatz {i} hat Text {i * i}.\n.PP" for i in range(200)).encode())
    write(tmp_path / "manpages/usr/share/man/man1/foo.1.gz", page)
    write(tmp_path / "manpages-de/usr/share/man/de/man1/foo.1.gz", page)
    write(tmp_path / "manpages-de/usr/share/man/de/man1/bar.1.gz", gzip.compress(b".so man1/foo.1"))
    write(tmp_path / "manpages-zh/usr/share/man/zh_TW/man1/foo.1.gz", page)
    found = list(manpages.read_manpages(tmp_path))
    assert Counter(text.language for text in found) == {"en": 200, "de": 200}
    assert {text.group for text in found} == {"man:foo.1.gz"}


def help_tree(folder: Path, pages: dict[str, str]) -> Path:
    codes = {"en": "en-US", "de": "de", "fr": "fr", "es": "es", "zh": "zh-CN"}
    for language, code in codes.items():
        root = folder / f"libreoffice-help-{code.lower()}/usr/share/libreoffice/help/{code}/text/shared"
        root.mkdir(parents=True)
        if language in pages:
            write(root / "main.html", pages[language])
    return folder


def test_help_pairs_are_aligned_by_id_and_the_first_paragraph_is_the_summary(tmp_path):
    english = (
        "<h1 id='hd_1'>Title</h1><p id='par_1'>Says what.</p><p id='par_2'>Only.</p><p id='par_3'>Rest.</p>"
    )
    german = "<h1 id='hd_1'>Titel</h1><p id='par_1'>Sagt was.</p><p id='par_3'>Rest!</p>"
    found = list(help_pages.read_help(help_tree(tmp_path, {"en": english, "de": german})))
    group = "libreoffice-help:main.html"
    assert [item for item in found if isinstance(item, Pair)] == [
        Pair("de", "Title", "Titel", "libreoffice-help", group),
        Pair("de", "Says what.", "Sagt was.", "libreoffice-help", group),
        Pair("de", "Rest.", "Rest!", "libreoffice-help", group),
    ]
    assert [item for item in found if isinstance(item, Document)] == [
        Document("en", "Only.\nRest.", "Says what.", "libreoffice-help", group),
        Document("de", "Rest!", "Sagt was.", "libreoffice-help", group),
    ]


def test_a_missing_help_edition_is_told(tmp_path):
    help_tree(tmp_path, {})
    shutil.rmtree(tmp_path / "libreoffice-help-fr")
    with pytest.raises(DataError, match=r"no LibreOffice help pages in fr\n  wanted: .*\n  remedy: remove"):
        list(help_pages.read_help(tmp_path))


def manual_tree(folder: Path) -> Path:
    for manual in manuals._MANUALS:
        for code in manual.codes.values():
            path = manual.pages.format(code).replace("**", "guide").replace("-*/", f"-{code}/")
            name = path.replace("*", "ch01")
            write(folder / name, MALLARD_PAGE if name.endswith(".page") else REFERENCE_PAGE)
    return folder


def test_manuals_are_read_in_five_languages_and_a_page_is_one_group(tmp_path):
    found = list(manuals.read_manuals(manual_tree(tmp_path)))
    languages = {manual.origin: 5 for manual in manuals._MANUALS}
    assert Counter(origin for origin, _ in {(text.origin, text.language) for text in found}) == languages
    groups = {text.group for text in found if text.origin == "debian-reference"}
    assert groups == {"debian-reference:ch01.en.html"}


def test_a_manual_without_pages_and_a_broken_page_are_told(tmp_path):
    manual_tree(tmp_path)
    page = tmp_path / "gnome-user-docs/usr/share/help/fr/guide/ch01.page"
    write(page, "<page><p>never closed</page>")
    with pytest.raises(DataError, match=r"ch01.page: this page cannot be read\n  got: mismatched tag"):
        list(manuals.read_manuals(tmp_path))
    page.unlink()
    with pytest.raises(DataError, match="gnome-user-docs has no pages in fr"):
        list(manuals.read_manuals(tmp_path))


def test_appstream_descriptions_are_read_in_the_wanted_languages(tmp_path):
    write(tmp_path / "archive_main_dep11_Components-amd64.yml.gz", gzip.compress(DEP11.encode()))
    assert list(manuals.read_appstream(tmp_path)) == [
        Text("en", "Foo draws maps.", "debian-appstream", "pkg:foo"),
        Text("en", "It is fast & small.", "debian-appstream", "pkg:foo"),
        Text("de", "Foo zeichnet Karten.", "debian-appstream", "pkg:foo"),
    ]


def test_missing_appstream_metadata_are_told(tmp_path):
    with pytest.raises(
        DataError, match=r"apt got no AppStream metadata\n  wanted: .*yml.gz\n  remedy: name the"
    ):
        list(manuals.read_appstream(tmp_path))


@pytest.mark.parametrize("name", ["libfoo1.2-dev", "python3-foo", "foo-doc", "fonts-foo", "foo+bar"])
def test_sibling_packages_are_one_family(name):
    assert manuals.family(name) == "foo"
