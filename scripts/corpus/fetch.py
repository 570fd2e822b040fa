"""Downloads the Debian packages and PyPI wheels that the corpus is made from; keeps only their text files.

Everything happens in one work folder: apt gets its own lists, cache and sources there, and nothing is
installed. A package is unpacked as soon as it has come and its archive deleted, so the folder never holds
much more than the texts.
"""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finescale.errors import DataError, UsageError

_HERE = Path(__file__).parent
_ONLY_DATA: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Nothing outside the folder is written. Python 3.11.3 and older know no filter; apt checks packages."""
_DEBIAN_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))

# Which files are kept, by what is read of a package (third column of packages.txt).
_WANTED = {
    "html": re.compile(r"\.html$"),
    "page": re.compile(r"/help/(C|de|fr|es|zh_CN)/.*\.page$"),
    "man": re.compile(r"/man/.*\.gz$"),
    "mo": re.compile(r"/(de|zh_CN|zh_Hans|zh-cn)/LC_MESSAGES/[^/]+\.mo$"),
}

# Images of Debian for containers switch these off: the AppStream metadata are asked for, translated package
# descriptions are not, and no hook of the machine's configuration may run after an update.
_APT_CONF = """\
#clear Acquire::Languages;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::Languages {{ "none"; }};
Acquire::GzipIndexes "true";
Acquire::IndexTargets::deb::DEP-11 {{
  MetaKey "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml";
  ShortDescription "Components-$(NATIVE_ARCHITECTURE)";
  Description "$(RELEASE)/$(COMPONENT) $(NATIVE_ARCHITECTURE) DEP-11 Metadata";
  KeepCompressed "true";
  KeepCompressedAs "gz";
  DefaultEnabled "true";
}};
Dir::State::lists "{apt}/lists";
Dir::Cache "{apt}/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{apt}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""


@dataclass(frozen=True)
class Package:
    """A Debian package to read.

    Attributes:
        name: Its name in the archive.
        version: The version that the bundled corpus was made from.
        reads: What is read of it: ``html``, ``page``, ``man``, ``mo``.
    """

    name: str
    version: str
    reads: tuple[str, ...]

    def wants(self, path: str) -> bool:
        """Whether a file of the package is read."""
        return any(_WANTED[kind].search(path) for kind in self.reads)


def read_packages(path: Path = _HERE / "packages.txt") -> list[Package]:
    """Reads the table of Debian packages.

    Raises:
        UsageError: If a line is not ``name version reads``.
    """
    packages = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 3 or not set(fields[2].split(",")) <= _WANTED.keys():
            raise UsageError(
                "this line does not name a package",
                wanted="name, version and what is read (" + ", ".join(_WANTED) + ", joined by commas)",
                got=line.strip(),
                remedy="correct the line",
                where=f"{path}, line {number}",
            )
        packages.append(Package(fields[0], fields[1], tuple(fields[2].split(","))))
    return packages


def read_wheels(path: Path = _HERE / "wheels.txt") -> dict[str, str]:
    """Reads the pinned wheels: name to version.

    Raises:
        UsageError: If a line is not ``name==version``.
    """
    wheels = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, pinned, version = line.strip().partition("==")
        if not (name and pinned and version):
            raise UsageError(
                "this line does not pin a wheel",
                wanted="name==version",
                got=line.strip(),
                remedy="correct the line",
                where=f"{path}, line {number}",
            )
        wheels[name] = version
    return wheels


def fetch(work: Path, step: Callable[[str], object], sources: Path | None = None) -> dict[str, str]:
    """Downloads what is missing in the work folder.

    Args:
        work: The work folder. Afterwards ``work/texts/NAME/`` has a package's text files,
            ``work/texts/pypi_NAME/`` a wheel's and ``work/apt/lists/`` the AppStream metadata. Packages that
            are there are not fetched again.
        step: Called with the name of each package as its turn comes.
        sources: The apt sources to use; by default the machine's own for Debian (no third-party archives).

    Returns:
        The version of every package and wheel, by folder name.

    Raises:
        UsageError: If the machine has no apt or no Debian sources.
        DataError: If a package cannot be downloaded.
    """
    work = work.resolve()
    conf = _prepare_apt(work / "apt", sources)
    texts = work / "texts"
    texts.mkdir(parents=True, exist_ok=True)
    step("package lists")
    _run(["apt-get", "-q", "-c", str(conf), "update"], "the package lists", cwd=work)
    versions = {}
    for package in read_packages():
        step(package.name)
        versions[package.name] = _once(texts / package.name, lambda to, p=package: _fetch_deb(p, conf, to))
    for name, version in read_wheels().items():
        step(name)
        versions[f"pypi_{name}"] = _once(
            texts / f"pypi_{name}", lambda to, n=name, v=version: _fetch_wheel(n, v, to)
        )
    return versions


def _prepare_apt(apt: Path, sources: Path | None) -> Path:
    """Lays out apt's own folder and returns its configuration file."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UsageError(
                f"{tool} is missing",
                wanted="a Debian 12 machine or container: the texts come from Debian packages",
                remedy="run this in a container of Debian 12",
            )
    candidates = _DEBIAN_SOURCES if sources is None else (sources,)
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise UsageError(
            "no apt sources for Debian",
            wanted="one of " + ", ".join(map(str, candidates)),
            remedy="name a sources file with --sources",
        )
    for folder in ("lists/partial", "cache/archives/partial", "sources"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(found, apt / "sources" / f"debian{found.suffix}")
    conf = apt / "apt.conf"
    conf.write_text(_APT_CONF.format(apt=apt), encoding="utf-8")
    return conf


def _once(folder: Path, fill: Callable[[Path], str]) -> str:
    """Fills a folder aside and renames it, unless it is there; returns the version noted in it."""
    note = folder / "package.json"
    if not note.exists():
        aside = folder.with_name(folder.name + ".part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        version = fill(aside)
        (aside / note.name).write_text(json.dumps({"version": version}), encoding="utf-8")
        aside.rename(folder)
    return json.loads(note.read_text(encoding="utf-8"))["version"]


def _fetch_deb(package: Package, conf: Path, to: Path) -> str:
    _run(["apt-get", "-q", "-c", str(conf), "download", package.name], package.name, cwd=to)
    deb = next(to.glob("*.deb"))
    version = _run(["dpkg-deb", "--field", deb.name, "Version"], package.name, cwd=to).strip()
    unpack = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with (
        subprocess.Popen(unpack, stdout=subprocess.PIPE) as unpacker,
        tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive,
    ):
        for member in archive:
            # Links are left out: they point to pages that are read themselves.
            if member.isreg() and package.wants(member.name):
                archive.extract(member, to, **_ONLY_DATA)
    if unpacker.returncode != 0:
        raise DataError(f"{deb.name} cannot be unpacked", remedy="run again: it will be downloaded anew")
    deb.unlink()
    return version


def _fetch_wheel(name: str, version: str, to: Path) -> str:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    _run([*pip, f"{name}=={version}"], name, cwd=to)
    wheel = next(to.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(to, members=_catalogue_members(archive.namelist()))
    wheel.unlink()
    return version


def _catalogue_members(members: Iterable[str]) -> list[str]:
    return [member for member in members if _WANTED["mo"].search(member)]


def _run(command: list[str], what: str, cwd: Path) -> str:
    """Runs a command and returns what it printed.

    Raises:
        DataError: If it failed, with the end of what it said.
    """
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DataError(
            f"cannot get {what}",
            wanted=" ".join(command),
            got=(done.stderr or done.stdout).strip()[-500:],
            remedy="check the network and the apt sources, then run again: what is there is kept",
        )
    return done.stdout
