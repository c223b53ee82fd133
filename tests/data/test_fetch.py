"""Downloads over connections that break, and archives that mean harm."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import signal
import socket
import stat
import tarfile
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from satkit.data import fetch
from satkit.data.fetch import NoSpaceError, download, extract
from tests.server import Site, serve

CONTENT = random.Random(0).randbytes(3 * 2**20 + 12345)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
Usage = namedtuple("Usage", "total used free")


def site(**faults: object) -> Site:
    return Site({"set.tgz": CONTENT}, **faults)  # type: ignore[arg-type]


def closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/set.tgz"


def only_file(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


# --- download ------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [{}, {"md5": MD5}, {"sha256": SHA256, "size": len(CONTENT)}])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_whole_file_arrives(tmp_path, known, ranges):
    with serve(site(ranges=ranges)) as server:
        path = download([f"{server.url}/set.tgz"], tmp_path / "new/set.tgz", **known)
    assert path.read_bytes() == CONTENT
    assert only_file(path.parent) == ["set.tgz"]


def test_a_cut_connection_is_taken_up_where_it_broke(tmp_path):
    with serve(site(cut=2**20)) as server:
        download([f"{server.url}/set.tgz"], tmp_path / "set.tgz", md5=MD5, wait=0.01)
        assert server.starts == [0, 2**20, 2 * 2**20, 3 * 2**20]
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


def test_without_a_checksum_it_is_taken_up_if_the_server_says_it_is_the_same(tmp_path):
    with serve(site(cut=2**20)) as server:
        url = f"{server.url}/set.tgz"
        download([url], tmp_path / "set.tgz", wait=0.01)
        assert server.starts == [0, 2**20, 2 * 2**20, 3 * 2**20]
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_begun_again(tmp_path):
    with serve(site(cut=2**20)) as server:
        url = f"{server.url}/set.tgz"
        with pytest.raises(OSError, match=r"set\.tgz: cut after"):
            server.ranges = False  # so it never gets further
            download([url], tmp_path / "set.tgz", retries=1, wait=0)
        assert (tmp_path / "set.tgz.partial").stat().st_size == 2**20
        server.files["set.tgz"], server.cut, server.ranges = CONTENT[::-1], 0, True
        download([url], tmp_path / "set.tgz")
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT[::-1]


def test_a_later_call_goes_on(tmp_path):
    with serve(site(cut=2**20)) as server:
        url = f"{server.url}/set.tgz"
        (tmp_path / "set.tgz.partial").write_bytes(CONTENT[:1000])
        server.cut = 0
        download([url], tmp_path / "set.tgz", md5=MD5)
        assert server.starts == [1000]
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


def test_a_complete_partial_file_is_only_checked(tmp_path):
    (tmp_path / "set.tgz.partial").write_bytes(CONTENT)
    with serve(site()) as server:
        download([f"{server.url}/set.tgz"], tmp_path / "set.tgz", md5=MD5)
        assert server.starts == []
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


@pytest.mark.parametrize("junk", [b"x" * 1000, b"x" * (len(CONTENT) + 7)], ids=["short", "long"])
def test_the_beginning_of_another_file_is_dropped(tmp_path, junk):
    (tmp_path / "set.tgz.partial").write_bytes(junk)
    with serve(site()) as server:
        download([f"{server.url}/set.tgz"], tmp_path / "set.tgz", md5=MD5, wait=0)
        assert server.starts[-1] == 0
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


def test_a_server_that_ignores_range_starts_again(tmp_path):
    (tmp_path / "set.tgz.partial").write_bytes(CONTENT[:1000])
    with serve(site(ranges=False)) as server:
        download([f"{server.url}/set.tgz"], tmp_path / "set.tgz", md5=MD5)
        assert server.starts == [0]
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


def test_a_server_that_is_down_for_a_while_is_asked_again(tmp_path):
    with serve(site(fail=3)) as server:
        download([f"{server.url}/set.tgz"], tmp_path / "set.tgz", md5=MD5, wait=0.01)
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


def test_mirrors_are_tried_in_turn(tmp_path):
    """A dead one, one without the file, one with another file, and one that is right."""
    wrong = Site({"set.tgz": b"<html>sign in</html>"})
    with serve(Site({})) as empty, serve(wrong), serve(site()) as good:
        urls = [f"{server}/set.tgz" for server in (empty.url, wrong.url, good.url)]
        download([closed_port(), *urls], tmp_path / "set.tgz", md5=MD5, retries=2, wait=0.01)
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT
    assert only_file(tmp_path) == ["set.tgz"]


def test_halves_of_two_mirrors_are_not_joined_without_a_checksum(tmp_path):
    other = bytes(len(CONTENT))
    with serve(Site({"set.tgz": other}, cut=1000, ranges=False)) as dying, serve(site()) as good:
        urls = [f"{dying.url}/set.tgz", f"{good.url}/set.tgz"]
        download(urls, tmp_path / "set.tgz", retries=1, wait=0)
        assert good.starts == [0]
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


def test_where_nothing_helps_every_reason_is_told(tmp_path):
    dead = closed_port()
    with serve(Site({"set.tgz": b"other"})) as wrong, serve(Site({})) as empty:
        urls = [dead, f"{wrong.url}/set.tgz", f"{empty.url}/set.tgz"]
        with pytest.raises(OSError) as caught:
            download(urls, tmp_path / "set.tgz", sha256=SHA256, retries=1, wait=0)
    message = str(caught.value)
    for reason in (dead, "refused", wrong.url, f"not {SHA256}", empty.url, "404"):
        assert reason in message, reason
    assert not (tmp_path / "set.tgz").exists()


def test_a_wrong_size_is_refused(tmp_path):
    with serve(site()) as server, pytest.raises(OSError, match=r"3,158,073 bytes, not 3,158,074"):
        url = f"{server.url}/set.tgz"
        download([url], tmp_path / "set.tgz", size=len(CONTENT) + 1, retries=1, wait=0)


def test_a_file_that_is_there_is_not_fetched_again(tmp_path):
    (tmp_path / "set.tgz").write_bytes(CONTENT)
    assert download([closed_port()], tmp_path / "set.tgz", sha256=SHA256).exists()


def test_a_file_that_is_there_but_wrong_is_fetched_again(tmp_path):
    (tmp_path / "set.tgz").write_bytes(CONTENT[:-1])
    with serve(site()) as server:
        download([f"{server.url}/set.tgz"], tmp_path / "set.tgz", sha256=SHA256)
    assert (tmp_path / "set.tgz").read_bytes() == CONTENT


def test_a_file_of_this_machine_is_copied(tmp_path):
    (tmp_path / "original").write_bytes(CONTENT)
    url = (tmp_path / "original").as_uri()
    assert download([url], tmp_path / "set.tgz", md5=MD5).read_bytes() == CONTENT
    with pytest.raises(OSError, match="nothing_here"):
        download([(tmp_path / "nothing_here").as_uri()], tmp_path / "other.tgz")


@pytest.mark.parametrize("url", ["ftp://host/set.tgz", "set.tgz", "s3://bucket/set.tgz"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(ValueError, match="http://, https:// or file://"):
        download([url], tmp_path / "set.tgz")
    with pytest.raises(ValueError, match=r"no address to fetch set\.tgz"):
        download([], tmp_path / "set.tgz")


@pytest.mark.parametrize("known", [{"size": 5 * 10**9}, {}])
def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch, known):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1_000_000))
    with serve(site()) as server, pytest.raises(NoSpaceError, match=r"needs .* but only 0\.00 GB"):
        download([f"{server.url}/set.tgz", "file:///other"], tmp_path / "set.tgz", **known)
    assert only_file(tmp_path) == []


def test_a_killed_download_leaves_a_partial_file_and_goes_on(tmp_path):
    path, partial = tmp_path / "set.tgz", tmp_path / "set.tgz.partial"
    with serve(site(cut=2**20)) as server:
        url = f"{server.url}/set.tgz"
        child = os.fork()
        if not child:
            download([url], path, md5=MD5, wait=60)
            os._exit(0)
        deadline = time.monotonic() + 30
        while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not path.exists() and 0 < partial.stat().st_size < len(CONTENT)
        server.cut, server.starts = 0, []
        download([url], path, md5=MD5)
        assert server.starts[0] > 0
    assert path.read_bytes() == CONTENT


# --- extract -------------------------------------------------------------------------------------


def make_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def make_zip(path: Path, members: dict[str, bytes | int]) -> Path:
    """Write a zip; an int is the mode of a special file whose content is "../../outside"."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            if isinstance(content, int):
                info.external_attr = content << 16
                archive.writestr(info, "../../outside")
            else:
                archive.writestr(info, content)
    return path


FILES = {"top/a/1.jpg": b"one", "top/./b/2.jpg": b"two", "README": b"read"}


@pytest.mark.parametrize("ending", [".tar", ".tgz", ".tar.gz", ".zip"])
@pytest.mark.parametrize("top", ["", "top"])
def test_archives_are_unpacked(tmp_path, ending, top):
    make = make_zip if ending == ".zip" else make_tar
    archive = make(tmp_path / f"set{ending}", dict(FILES))
    folder = extract(archive, tmp_path / "deep/set", top)
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    if top:
        assert found == {"a/1.jpg": b"one", "b/2.jpg": b"two"}
    else:
        assert found == {"top/a/1.jpg": b"one", "top/b/2.jpg": b"two", "README": b"read"}
    archive.unlink()
    archive.write_bytes(b"")
    assert extract(archive, folder) == folder, "what is there is not unpacked again"


HOSTILE_TARS = {
    "above": {"../evil": b"x"},
    "above inside": {"a/../../evil": b"x"},
    "absolute": {"/tmp/evil-satkit": b"x"},
    "link out": {"l": special("l", tarfile.SYMTYPE, "../../outside")},
    "absolute link": {"l": special("l", tarfile.SYMTYPE, "/etc/passwd")},
    "hard link out": {"l": special("l", tarfile.LNKTYPE, "../../outside")},
    "device": {"d": special("d", tarfile.CHRTYPE)},
    "pipe": {"p": special("p", tarfile.FIFOTYPE)},
    "through a link": {"l": special("l", tarfile.SYMTYPE, ".."), "l/evil": b"x"},
}
HOSTILE_ZIPS = {
    "above": {"../evil": b"x"},
    "above inside": {"a/../../evil": b"x"},
    "absolute": {"/tmp/evil-satkit": b"x"},
    "backslash": {"..\\evil": b"x"},
    "drive": {"C:evil": b"x"},
    "link out": {"l": stat.S_IFLNK | 0o777},
    "device": {"d": stat.S_IFCHR | 0o666},
    "pipe": {"p": stat.S_IFIFO | 0o666},
}


@pytest.mark.parametrize("case", HOSTILE_TARS)
def test_a_hostile_tar_writes_nothing(tmp_path, case):
    archive = make_tar(tmp_path / "set.tar", {"ok.jpg": b"x", **HOSTILE_TARS[case]})
    refuse(archive, tmp_path)


@pytest.mark.parametrize("case", HOSTILE_ZIPS)
def test_a_hostile_zip_writes_nothing(tmp_path, case):
    archive = make_zip(tmp_path / "set.zip", {"ok.jpg": b"x", **HOSTILE_ZIPS[case]})
    refuse(archive, tmp_path)


def refuse(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{archive.name}: refused to unpack"):
        extract(archive, tmp_path / "in/set")
    assert only_file(tmp_path / "in") == []
    assert only_file(tmp_path) == sorted(["in", archive.name])
    assert not Path("/tmp/evil-satkit").exists()


def test_links_that_stay_inside_are_left_out_and_not_written_through(tmp_path, capsys):
    members = {"a/1.jpg": b"one", "l": special("l", tarfile.SYMTYPE, "a"), "l/2.jpg": b"two"}
    folder = extract(make_tar(tmp_path / "set.tar", members), tmp_path / "set")
    assert "left out the link l -> a" in capsys.readouterr().out
    assert not (folder / "l").is_symlink() and (folder / "l/2.jpg").read_bytes() == b"two"
    assert os.listdir(folder / "a") == ["1.jpg"]


@pytest.mark.parametrize("ending", [".tar", ".tgz", ".zip"])
def test_a_damaged_archive_leaves_nothing(tmp_path, ending):
    make = make_zip if ending == ".zip" else make_tar
    archive = make(tmp_path / f"set{ending}", {"a.jpg": CONTENT[:50_000], "b.jpg": CONTENT})
    archive.write_bytes(archive.read_bytes()[:500_000])
    with pytest.raises(ValueError, match=rf"set\{ending} is damaged .* get it again"):
        extract(archive, tmp_path / "in/set")
    assert only_file(tmp_path / "in") == []


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "set.rar").write_bytes(b"Rar!")
    with pytest.raises(ValueError, match=r"set\.rar is none of the archives \.tar"):
        extract(tmp_path / "set.rar", tmp_path / "set")
    with pytest.raises(ValueError, match=r"set\.tar: it holds no files in 'images'"):
        extract(make_tar(tmp_path / "set.tar", dict(FILES)), tmp_path / "set", "images")


def test_an_archive_of_absurd_size_is_refused(tmp_path, monkeypatch):
    """The header of a .tar and the table of a .zip say how large a file will be."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1_000_000))
    for archive in (
        make_tar(tmp_path / "set.tgz", {"zeros": bytes(50_000_000)}),
        make_zip(tmp_path / "set.zip", {"zeros": bytes(50_000_000)}),
    ):
        with pytest.raises(NoSpaceError, match=r"needs 0\.05 GB, but only 0\.00 GB are free"):
            extract(archive, tmp_path / "in/set")
        assert only_file(tmp_path / "in") == []


def test_a_killed_extraction_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    archive = make_tar(tmp_path / "set.tar", {f"{n}.jpg": b"x" * 99 for n in range(20)})
    write, written = fetch._write, []

    def dying(source, path, size):  # as with kill -9: nothing is tidied up
        write(source, path, size)
        written.append(path)
        if len(written) == 10:
            os._exit(9)

    monkeypatch.setattr(fetch, "_write", dying)
    child = os.fork()
    if not child:
        extract(archive, tmp_path / "in/set")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert only_file(tmp_path / "in") == ["set.partial"]
    monkeypatch.setattr(fetch, "_write", write)
    assert len(list(extract(archive, tmp_path / "in/set").iterdir())) == 20
    assert only_file(tmp_path / "in") == ["set"]
