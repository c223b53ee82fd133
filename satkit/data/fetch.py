"""Fetching files that may break off, and unpacking archives that nobody has checked."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import http.client
import json
import lzma
import posixpath
import re
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import IO, Any

from satkit.progress import Progress

BLOCK = 2**20  # bytes
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
#: what decompressors raise on damaged archives
_DAMAGED = (
    tarfile.ReadError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
)


class NoSpaceError(OSError):
    """A file does not fit on the disk; no mirror helps against that."""


class _WrongContentError(OSError):
    """What a server sent is not the wanted file."""


def download(
    urls: Sequence[str],
    path: Path,
    *,
    size: int | None = None,
    md5: str = "",
    sha256: str = "",
    retries: int = 5,
    wait: float = 1.0,
) -> Path:
    """Fetch a file from the first of several addresses that has it.

    What has arrived is in ``<name>.partial`` until the file is whole and checked, so a file of
    that name is never half a file. A cut connection is taken up where it broke off, in this call
    or in a later one. A file that is there with the right checksum is not fetched again.

    Args:
        urls: http, https or file addresses of the same file, tried in turn.
        path: where it goes.
        size: in bytes, where it is known.
        md5: checksum, where it is known.
        sha256: checksum, where it is known.
        retries: how often one address is tried again without a byte of progress.
        wait: seconds before the first of them, doubled each time.

    Returns:
        `path`.

    Raises:
        ValueError: no address, or one of another kind.
        NoSpaceError: it does not fit on the disk; says how much is needed and free.
        OSError: no address gave the file; the message has the reason of each.
    """
    for url in urls:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https", "file"):
            raise ValueError(f"the address {url!r} must begin with http://, https:// or file://")
    if not urls:
        raise ValueError(f"there is no address to fetch {path.name} from")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    reasons = []
    with locked(path):
        if path.exists():
            if not (problem := check_file(path, size=size, md5=md5, sha256=sha256)):
                return path
            print(f"{problem}: fetching it again")
        for url in urls:
            try:
                begun = partial.exists()
                _fetch(url, partial, size, bool(md5 or sha256), retries, wait)
                problem = check_file(partial, size=size, md5=md5, sha256=sha256)
                if problem and begun:  # perhaps by another address: once more from the start
                    partial.unlink()
                    _fetch(url, partial, size, True, retries, wait)
                    problem = check_file(partial, size=size, md5=md5, sha256=sha256)
                if not problem:
                    partial.replace(path)
                    _origin(partial).unlink(missing_ok=True)
                    return path
                partial.unlink()
                reasons.append(f"{url}: {problem}")
            except NoSpaceError:
                raise
            except (OSError, http.client.HTTPException) as error:
                reasons.append(f"{url}: {error}")
    raise OSError(
        f"could not fetch {path.name}:\n  " + "\n  ".join(reasons) + "\nWhat has arrived is kept: "
        "run the same again to go on, or put the file there yourself."
    )


def check_file(path: Path, *, size: int | None = None, md5: str = "", sha256: str = "") -> str:
    """Compare a file with its known size and checksums.

    Returns:
        What is wrong with it; empty where nothing is.
    """
    found = path.stat().st_size
    if size is not None and found != size:
        return f"{path} has {found:,} bytes, not {size:,}"
    for name, wanted in (("sha256", sha256), ("md5", md5)):
        if wanted and (got := checksum(path, name)) != wanted:
            return f"{path} has the {name} {got}, not {wanted}"
    return ""


def checksum(path: Path, name: str) -> str:
    """Compute the md5 or sha256 of a file, hexadecimal."""
    digest = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(BLOCK), b"")
        for block in Progress(blocks, -(-path.stat().st_size // BLOCK), f"{name} of {path.name}"):
            digest.update(block)
    return digest.hexdigest()


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse what does not fit on the disk.

    Raises:
        NoSpaceError: says how much is needed and free.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise NoSpaceError(
            f"{what} needs {needed / 1e9:,.2f} GB, but only {free / 1e9:,.2f} GB are free in "
            f"{existing}: make room, or choose a folder on another disk"
        )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is whole or not there."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time work on a path; the others wait.

    The lock is the file ``.<name>.lock`` beside it. It is the operating system's, so a killed
    process leaves none behind.
    """
    with path.with_name(f".{path.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            # a file system without locks: nothing but a second script is kept out
        yield


# -------------------------------------------------------------------------------------- download


def _fetch(
    url: str, partial: Path, size: int | None, checked: bool, retries: int, wait: float
) -> None:
    """Fetch one address into `partial`; go on with what is there if it belongs to this file."""
    origin = _read_origin(partial)
    if partial.exists() and not checked and origin.get("url") != url:
        partial.unlink()  # nothing would tell that its two halves do not fit
    failures = 0
    while True:
        before = _length(partial)
        try:
            if size is not None:
                require_space(partial.parent, size - before, partial.stem)
            if _receive(url, partial, checked):
                return
            error: Exception = ConnectionError(f"cut after {_length(partial):,} bytes")
        except urllib.error.HTTPError as refused:
            refused.close()
            if refused.code < 500 and refused.code not in (408, 425, 429):
                raise
            error = refused
        except (NoSpaceError, _WrongContentError):
            raise
        except (OSError, http.client.HTTPException) as broken:
            if url.startswith("file:"):
                raise
            error = broken
        failures = 0 if _length(partial) > before else failures + 1
        if failures >= retries:
            raise error
        time.sleep(wait * 2 ** max(failures - 1, 0))


def _receive(url: str, partial: Path, checked: bool) -> bool:
    """Ask for what is missing and write it; False where the connection was cut."""
    have = _length(partial)
    headers = {"User-Agent": "satkit"}
    validator = _read_origin(partial).get("validator", "")
    if have and (checked or validator):
        headers["Range"] = f"bytes={have}-"
        if not checked:
            headers["If-Range"] = validator  # the whole file, if it is not the same any more
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to send, or the rest of another file was asked for
            raise
        error.close()
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if total and int(total[1]) == have:
            return True
        partial.unlink()
        return False
    with response:
        start = _start(response, have)
        total_size = _total(response, start)
        if total_size is not None:
            require_space(partial.parent, total_size - start, partial.stem)
        _write_origin(partial, url, response)
        _copy(response, partial, start, total_size)
    return total_size is None or _length(partial) == total_size


def _start(response: Any, have: int) -> int:
    """Byte at which an answer begins: where we asked for, or 0 where Range was ignored."""
    if response.status != 206:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != have:
        raise _WrongContentError(f"asked for bytes from {have}, got {response.headers}")
    return have


def _total(response: Any, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return None if length is None else start + int(length)


def _copy(response: IO[bytes], partial: Path, start: int, total: int | None) -> None:
    label = f"fetch {partial.stem} (MiB)"
    with partial.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        blocks = iter(lambda: response.read(BLOCK), b"")
        for block in Progress(blocks, -(-(total or 0) // BLOCK), label, start // BLOCK):
            file.write(block)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _origin(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _read_origin(partial: Path) -> dict[str, str]:
    try:
        origin: dict[str, str] = json.loads(_origin(partial).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return origin


def _write_origin(partial: Path, url: str, response: Any) -> None:
    """Note where a partial file comes from, and by what the server tells its versions apart."""
    strong = response.headers.get("ETag", "")
    validator = strong if strong and not strong.startswith("W/") else ""
    validator = validator or response.headers.get("Last-Modified", "")
    _origin(partial).write_text(json.dumps({"url": url, "validator": validator}))


# --------------------------------------------------------------------------------------- extract


def extract(archive: Path, folder: Path, top: str = "") -> Path:
    """Unpack a .tar (also .gz, .bz2, .xz) or .zip archive into a new folder.

    The folder appears whole or not at all. Only files and folders are unpacked; links that stay
    inside are left out, with a word about it.

    Args:
        archive: the file.
        folder: what it becomes; where it is there already, nothing is done.
        top: folder inside of the archive that becomes `folder`; the whole archive where empty.

    Returns:
        `folder`.

    Raises:
        ValueError: the archive is damaged, of another kind, lacks `top`, or holds what would be
            written outside of the folder, a link that leads out, or a device.
        NoSpaceError: it does not fit on the disk.
    """
    if not archive.name.endswith(ARCHIVES):
        raise ValueError(f"{archive} is none of the archives {', '.join(ARCHIVES)}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unpack = _unzip if archive.name.endswith(".zip") else _untar
    total = -(-archive.stat().st_size // BLOCK)
    with locked(folder), named(archive), archive.open("rb") as file:
        if not folder.exists():
            with _new_folder(folder) as partial:
                ticks = unpack(file, partial, top)
                for _ in Progress(ticks, total, f"unpack {archive.name} (MiB)"):
                    pass
                if not any(partial.iterdir()):
                    raise ValueError(f"it holds no files{f' in {top!r}' if top else ''}")
    return folder


def extract_tar(tar: tarfile.TarFile, folder: Path) -> None:
    """Unpack an open .tar archive, such as one inside of another, as `extract` does."""
    if not folder.exists():
        with _new_folder(folder) as partial:
            for _ in _write_members(tar, partial, ""):
                pass


@contextmanager
def named(archive: Path) -> Iterator[None]:
    """Name the archive where something is wrong with it.

    Raises:
        ValueError: in place of the errors of damaged archives.
    """
    try:
        yield
    except _DAMAGED as error:
        raise ValueError(f"{archive} is damaged ({error}): get it again") from error
    except ValueError as error:
        raise ValueError(f"{archive}: {error}") from error


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder that is whole or not there."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_members(tar: tarfile.TarFile, folder: Path, top: str) -> Iterator[None]:
    for member in tar:
        name = _below(member.name, top)
        if member.issym() or member.islnk():  # a hard link names its target from the top
            place = posixpath.dirname(member.name) if member.issym() else ""
            _below(posixpath.join(place, member.linkname))
            print(f"left out the link {member.name} -> {member.linkname}")
        elif not member.isdir() and not member.isfile():
            raise ValueError(f"refused to unpack: {member.name!r} is a special file")
        elif member.isdir() and name:
            (folder / name).mkdir(parents=True, exist_ok=True)
        elif name:
            source = tar.extractfile(member)
            assert source is not None
            _write(source, folder / name, member.size)
        yield


def _untar(file: IO[bytes], folder: Path, top: str) -> Iterator[None]:
    with tarfile.open(fileobj=file, mode="r:*") as tar:
        done = 0
        for _ in _write_members(tar, folder, top):
            before, done = done, file.tell() // BLOCK
            yield from repeat(None, done - before)


def _unzip(file: IO[bytes], folder: Path, top: str) -> Iterator[None]:
    with zipfile.ZipFile(file) as archive:
        done = read = 0
        needed = sum(info.file_size for info in archive.infolist())
        require_space(folder, needed, f"unpacked, {folder.stem}")
        for info in archive.infolist():
            name = _below(info.filename, top)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind == stat.S_IFLNK:
                target = archive.read(info).decode(errors="replace")
                _below(posixpath.join(posixpath.dirname(info.filename), target))
                print(f"left out the link {info.filename} -> {target}")
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"refused to unpack: {info.filename!r} is a special file")
            elif info.is_dir() and name:
                (folder / name).mkdir(parents=True, exist_ok=True)
            elif name:
                with archive.open(info) as source:
                    _write(source, folder / name, info.file_size)
            read += info.compress_size
            before, done = done, read // BLOCK
            yield from repeat(None, done - before)


def _below(name: str, top: str = "") -> str:
    """Path of a member below `top`, "" where it is not there; refuse any that leads out."""
    flat = posixpath.normpath(name)
    if name.startswith("/") or "\\" in name or ":" in name.split("/")[0] or flat.startswith(".."):
        raise ValueError(f"refused to unpack: {name!r} would be written outside of the folder")
    flat = "" if flat == "." else flat
    if not top:
        return flat
    return flat.removeprefix(f"{top}/") if flat.startswith(f"{top}/") else ""


def _write(source: IO[bytes], path: Path, size: int) -> None:
    require_space(path.parent, size, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, BLOCK)
    if path.stat().st_size != size:
        raise EOFError(f"{path.name} is cut short")
