"""Where a data set comes from, and the three steps to it: download, verify, prepare.

Each script in data_scripts/ states one `Source` and calls `main` with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from satkit.data import LAYOUTS, UNCHECKED, Photographs, Transform, default_root, list_splits
from satkit.data.fetch import ARCHIVES as ARCHIVE_ENDINGS
from satkit.data.fetch import check_file, download, extract, require_space, write_whole
from satkit.data.files import check
from satkit.data.prepare import prepare
from satkit.data.prepared import find_prepared, prepared_sides
from satkit.data.workers import in_parallel
from satkit.progress import Progress, interruptible

ARCHIVES = "archives"  # folder below the root of a set for what was fetched
KEPT = "what is whole is kept, run the same again to go on"
DECODE = 200  # photographs that are decoded by one call
MOST_SHOWN = 20  # problems that are printed


@dataclass(frozen=True)
class File:
    """A file that belongs to a data set.

    Args:
        name: of the file.
        urls: its addresses, tried in turn; none where it has to be given with --archive.
        size: in bytes; None where it is not known.
        md5: checksum; "" where it is not known.
        sha256: checksum; "" where it is not known.
        becomes: path below the root of the set: the folder that the archive is unpacked to, or
            the place of a file that is no archive. Where it is there, the file is not needed.
        top: folder inside of the archive that is unpacked; the whole archive where empty.
        unpack: takes the file and that path, where `satkit.data.fetch.extract` does not do; what
            it makes must be whole or not there.
    """

    name: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    md5: str = ""
    sha256: str = ""
    becomes: str = ""
    top: str = ""
    unpack: Callable[[Path, Path], object] | None = None


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, and what it must hold.

    Args:
        name: of the set, as `satkit.data.load` knows it.
        title: of the set, with its paper.
        terms: of use, in a sentence.
        page: its home page, where the terms are.
        files: what to fetch; none where there is nothing to fetch.
        counts: photographs of each split, as in the paper.
        num_classes: number of classes; None where it is the user's.
        sign_up: how to get the files of a set that asks for a registration; "" where it asks none.
        arrange: brings what was unpacked below the root into what `LAYOUTS` reads; it must be able
            to go on after it was killed.
        shards: prepare WebDataset shards (JPEG) rather than a PNG file each.
    """

    name: str
    title: str
    terms: str
    page: str
    files: tuple[File, ...] = ()
    counts: Mapping[str, int] | None = None
    num_classes: int | None = None
    sign_up: str = ""
    arrange: Callable[[Path], object] | None = None
    shards: bool = False


# -------------------------------------------------------------------------------------- download


def fetch(source: Source, root: Path, archives: Sequence[Path] = ()) -> None:
    """Fetch what is missing of a set, unpack it, and bring it into the layout that is read.

    Args:
        source: of the set.
        root: its folder.
        archives: files that the user has already, by the names of `Source.files`.

    Raises:
        ValueError: an archive is not of this set or damaged, or the set has to be signed up for.
        OSError: a file could not be fetched, or does not fit on the disk.
    """
    given = _match(source, archives)
    if source.sign_up and not given:
        raise ValueError(f"{source.name} cannot be fetched by a script. {source.sign_up}")
    wanted = [file for file in source.files if not (root / file.becomes).exists()]
    wanted = [file for file in wanted if file.urls or file.name in given]
    missing = sum(file.size or 0 for file in wanted if file.name not in given)
    have = sum(_size(root / ARCHIVES / file.name) for file in wanted)
    require_space(root, max(missing - have, 0), f"fetching {source.name}")
    for file in wanted:
        _unpack(file, _get(file, root, given), root)
    if source.arrange:
        source.arrange(root)


def _match(source: Source, archives: Sequence[Path]) -> dict[str, Path]:
    names = [file.name for file in source.files]
    for path in archives:
        if not path.is_file():
            raise FileNotFoundError(f"--archive: there is no file {path}")
        if path.name not in names:
            raise ValueError(
                f"--archive: {path.name!r} is no file of {source.name}; its files are "
                f"{', '.join(names)} (rename yours if it is one of them)"
            )
    return {path.name: path for path in archives}


def _get(file: File, root: Path, given: Mapping[str, Path]) -> Path:
    known = {"size": file.size, "md5": file.md5, "sha256": file.sha256}
    if file.name not in given:
        return download(file.urls, root / ARCHIVES / file.name, **known)  # type: ignore[arg-type]
    if problem := check_file(given[file.name], **known):  # type: ignore[arg-type]
        raise ValueError(f"--archive: {problem}. Get it again.")
    return given[file.name]


def _unpack(file: File, path: Path, root: Path) -> None:
    place = root / file.becomes
    try:
        if file.unpack:
            file.unpack(path, place)
        elif file.name.endswith(ARCHIVE_ENDINGS):
            extract(path, place, file.top)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, path.read_bytes())
    except ValueError:
        if path.parent == root / ARCHIVES and not (file.md5 or file.sha256):
            path.unlink()  # what was fetched is not what was wanted, and nothing else tells
        raise


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# ---------------------------------------------------------------------------------------- verify


def verify(
    source: Source, root: Path, *, decode: bool = True, workers: int = 0
) -> tuple[list[str], list[str]]:
    """Compare a set in a folder with what the paper used, and read every photograph of it.

    Args:
        source: of the set.
        root: its folder or .zip.
        decode: read every photograph and mask, which takes minutes to an hour.
        workers: number of processes; 0 is one for each core.

    Returns:
        What was found, and what is wrong: checksums, counts, missing files, senseless boxes, and
        unreadable files by name.

    Raises:
        FileNotFoundError: the set is not there.
    """
    found, wrong = _verify_archives(source, root)
    for split in list_splits(source.name, root):
        listing = LAYOUTS[source.name](root, split)
        photographs = Photographs(source.name, split, listing, Transform())
        found.append(f"{split}: {len(photographs):,} photographs, {len(listing.classes)} classes")
        wanted = (source.counts or {}).get(split, len(photographs))
        if len(photographs) != wanted:
            wrong.append(f"{split}: {len(photographs):,} photographs, but the paper has {wanted:,}")
        if source.num_classes not in (None, len(listing.classes)):
            wrong.append(f"{split}: {len(listing.classes)} classes, not {source.num_classes}")
        try:
            if source.name not in UNCHECKED:
                check(listing, source.name)
        except (FileNotFoundError, ValueError) as error:
            wrong.append(f"{split}: {error}")
        if decode:
            wrong += [f"{split}: {problem}" for problem in _unreadable(photographs, workers)]
    return found, wrong


def _verify_archives(source: Source, root: Path) -> tuple[list[str], list[str]]:
    found, wrong = [], []
    for file in source.files:
        path = root / ARCHIVES / file.name
        if not path.exists():
            continue
        if problem := check_file(path, size=file.size, md5=file.md5, sha256=file.sha256):
            wrong.append(problem)
        elif file.md5 or file.sha256:
            found.append(f"{file.name}: its checksum is right")
        else:
            found.append(f"{file.name}: no checksum of it is known to satkit")
    return found, wrong


_reading: Photographs  # set before the processes are forked


def _unreadable(photographs: Photographs, workers: int) -> list[str]:
    """Read everything; return what is wrong with each file that cannot be read."""
    global _reading
    _reading = photographs
    count = len(photographs)
    tasks = [range(start, min(start + DECODE, count)) for start in range(0, count, DECODE)]
    label = f"read {photographs.name} {photographs.split} (x {DECODE})"
    results = Progress(in_parallel(_read_some, tasks, workers), len(tasks), label)
    return [problem for _, problem in sorted(pair for result in results for pair in result)]


def _read_some(indices: Iterable[int]) -> list[tuple[int, str]]:
    problems = []
    for index in indices:
        try:
            _reading.read_resized(index)
        except FileNotFoundError:
            problems.append((index, f"{_reading.records[index].path} or its mask is not there"))
        except ValueError as error:
            problems.append((index, str(error)))
    return problems


# -------------------------------------------------------------------------------------- overview


def overview() -> str:
    """Describe all data sets: where each is looked for, what is there, and how to get it.

    Returns:
        A table for people.
    """
    rows = [["set", "photographs train / val / test", "prepared at", "where"]]
    rows.append(["aviary", "drawn at any number", "", "embedded"])
    rows += [[name, *_state(name)] for name in LAYOUTS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([*lines, "", "A set is looked for in $SATKIT_DATA/NAME, else in data/NAME."])


def _state(name: str) -> tuple[str, str, str]:
    """Say how many photographs a set has, at which sides it was prepared, and where it is."""
    root = default_root(name)
    sides = prepared_sides(root)
    if not root.exists() and not sides:
        return "", "", f"not in {root}. {HOW_TO_GET.get(name, SCRIPT.format(name))}"
    counts: dict[str, int] = {}
    if sides and (prepared := find_prepared(root, sides[0])):
        counts = prepared.about["counts"]
    elif name in UNCHECKED:
        return "", "", f"{root}, not counted here: python data_scripts/{name}.py verify --quick"
    else:
        try:
            for split in list_splits(name, root):
                counts[split] = len(LAYOUTS[name](root, split).records)
        except (FileNotFoundError, ValueError) as error:
            return "", "", f"{root}: incomplete. {str(error).split('. ')[0]}"
    numbers = (f"{counts[s]:,}" if s in counts else "-" for s in ("train", "val", "test"))
    return " / ".join(numbers), " ".join(map(str, sides)), str(root)


SCRIPT = "Get it: python data_scripts/{}.py download"
#: of the sets that no script fetches
HOW_TO_GET = {
    "birds": "A sample of CUB with a table boxes.csv; docs/data.md says its columns",
    "folder": "Your own photographs: see docs/data.md, or pass another folder as data_root",
}


# --------------------------------------------------------------------------------------- scripts

Root = Annotated[
    Path | None, typer.Option(help="Folder of the set, or .zip; $SATKIT_DATA/NAME or data/NAME.")
]
Workers = Annotated[int, typer.Option(help="Processes; 0 is one for each core.", min=0)]


def make_app(source: Source) -> typer.Typer:
    """Make the command line of a script.

    Args:
        source: of its set.

    Returns:
        Commands download (where there is something to fetch), verify and prepare.
    """
    app = typer.Typer(
        help=f"{source.title}. {source.terms} {source.page}",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    def download_command(
        root: Root = None,
        archive: Annotated[
            list[Path] | None, typer.Option(help="A file that you have already; may be repeated.")
        ] = None,
        accept_terms: Annotated[
            bool, typer.Option("--accept-terms", help="You have read and accept them.")
        ] = False,
    ) -> None:
        """Fetch the set and unpack it; a download that broke off goes on."""
        folder = root or default_root(source.name)
        _show_terms(source, accept_terms)
        with interruptible(KEPT):
            fetch(source, folder, archive or [])
            _report(*verify(source, folder, decode=False))
        if (folder / ARCHIVES).exists():
            print(f"{folder / ARCHIVES} can be deleted now")

    def verify_command(
        root: Root = None,
        quick: Annotated[bool, typer.Option("--quick", help="Do not read photographs.")] = False,
        workers: Workers = 0,
    ) -> None:
        """Check counts, checksums, files and boxes, and read every photograph."""
        folder = root or default_root(source.name)
        with interruptible(KEPT):
            _report(*verify(source, folder, decode=not quick, workers=workers))

    def prepare_command(
        root: Root = None,
        side: Annotated[
            int, typer.Option(help="256, and 224 for the protocols wsoleval and tscam.", min=1)
        ] = 256,
        split: Annotated[
            list[str] | None, typer.Option(help="Only this one; may be repeated.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option(help="Root of the prepared set; the set's own if not given.")
        ] = None,
        workers: Workers = 0,
    ) -> None:
        """Resize all photographs once, so that training does not wait for decoding."""
        place = root or default_root(source.name)
        shards, splits = source.shards, split or ()
        with interruptible(KEPT):
            folder = prepare(
                source.name, place, side, shards=shards, splits=splits, out=out, workers=workers
            )
        print(f"{folder}: load it with root {out or place}")

    if source.files:
        app.command("download")(download_command)
    app.command("verify")(verify_command)
    app.command("prepare")(prepare_command)
    return app


def main(source: Source, arguments: Sequence[str] | None = None) -> None:
    """Run a script's command line and exit.

    Args:
        source: of its set.
        arguments: what comes after the script's name; sys.argv's where None.

    Raises:
        SystemExit: always; 0 done, 1 failed or something is wrong with the set, 2 bad input or the
            set is not there, 130 interrupted.
    """
    try:
        make_app(source)(arguments)
    except (ValueError, FileNotFoundError) as error:
        print(f"bad input: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (RuntimeError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _show_terms(source: Source, accepted: bool) -> None:
    print(f"{source.title}\nTerms of use: {source.terms}\n{source.page}")
    if accepted:
        return
    if not sys.stdin.isatty():
        raise ValueError("read the terms above, then pass --accept-terms")
    if not typer.confirm("Do you accept them?"):
        raise ValueError("the terms were not accepted, nothing was fetched")


def _report(found: list[str], wrong: list[str]) -> None:
    for line in found:
        print(f"  {line}")
    for line in wrong[:MOST_SHOWN]:
        print(f"  WRONG: {line}", file=sys.stderr)
    if len(wrong) > MOST_SHOWN:
        print(f"  … and {len(wrong) - MOST_SHOWN} more", file=sys.stderr)
    print(f"{len(wrong)} problems" if wrong else "all is as it should be")
    if wrong:
        raise typer.Exit(1)
