"""Files are written whole or not at all, and only the dead's leftovers are removed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gliomaseg.errors import OutputError
from gliomaseg.storage import files, locks


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def fail(number: int) -> object:
    def raise_it(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return raise_it


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a.bin", b"abc")
    files.write_text(tmp_path / "ä b.txt", "Grüße\n")
    files.write_json(tmp_path / "c.json", {"ü": [1, None]})
    assert names(tmp_path) == ["a.bin", "c.json", "ä b.txt"]
    assert (tmp_path / "a.bin").read_bytes() == b"abc"
    assert (tmp_path / "ä b.txt").read_bytes() == "Grüße\n".encode()
    assert json.loads((tmp_path / "c.json").read_text(encoding="utf-8")) == {"ü": [1, None]}


class Crash(BaseException):
    """Stands for KeyboardInterrupt and the like."""


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, Crash, MemoryError])
def test_a_crash_inside_the_block_leaves_the_old_file_and_no_draft(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    target = tmp_path / "seg.nii.gz"
    target.write_bytes(b"old")
    with pytest.raises(kind), files.open_atomic(target) as stream:  # noqa: PT012
        stream.write(b"new but only ha")
        stream.flush()
        assert target.read_bytes() == b"old"
        raise kind
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["seg.nii.gz"]


def test_the_draft_lies_hidden_beside_the_target(tmp_path: Path) -> None:
    with files.open_atomic(tmp_path / "x.json") as stream:
        (draft,) = names(tmp_path)
        assert draft.startswith(".tmp-")
        stream.write(b"1")
    assert names(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
    ("call", "number", "code"),
    [
        ("os.fsync", errno.ENOSPC, "E-DISK"),
        ("os.fsync", errno.EDQUOT, "E-DISK"),
        ("os.fsync", errno.EIO, "E-OUTPUT"),
        ("tempfile.mkdtemp", errno.EACCES, "E-PERM"),
        ("tempfile.mkdtemp", errno.EROFS, "E-PERM"),
        ("pathlib.Path.replace", errno.EPERM, "E-PERM"),
    ],
)
def test_a_failing_disk_leaves_the_old_file_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: str
) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    monkeypatch.setattr(call, fail(number))
    with pytest.raises(OutputError, match=r"a\.txt") as caught:
        files.write_bytes(target, b"new")
    monkeypatch.undo()
    assert caught.value.code == code
    assert names(tmp_path) == ["a.txt"]
    assert target.read_bytes() == b"old"


def test_data_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        happened.append("folder" if is_folder else f"file of {os.fstat(descriptor).st_size}")
        sync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        happened.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    files.write_bytes(tmp_path / "a", b"x" * 1000)
    assert happened == ["file of 1000", "rename", "folder"]


def test_a_disk_that_can_not_sync_folders_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    files.write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_results_can_be_read_by_whom_the_umask_says(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        files.write_bytes(tmp_path / "a", b"x")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_a_missing_folder_and_a_folder_as_target_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file") as caught:
        files.write_bytes(tmp_path / "no" / "a", b"x")
    assert caught.value.code == "E-OUTPUT"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        files.write_bytes(tmp_path / "folder", b"x")
    assert names(tmp_path) == ["folder"]


def test_make_folder_creates_parents_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert files.make_folder(folder) == folder
    assert files.make_folder(folder) == folder
    assert names(folder) == []


def test_make_folder_refuses_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "busy").write_bytes(b"")
    for path in (tmp_path / "busy", tmp_path / "busy" / "inside"):
        with pytest.raises(OutputError, match="busy") as caught:
            files.make_folder(path)
        assert caught.value.code == "E-OUTPUT"
    monkeypatch.setattr("tempfile.mkdtemp", fail(errno.EACCES))
    with pytest.raises(OutputError) as caught:
        files.make_folder(tmp_path / "locked")
    assert caught.value.code == "E-PERM"


def make_draft(folder: Path, name: str) -> Path:
    """Make what a killed process leaves: a draft with a lock file that no process holds."""
    draft = folder / name
    (draft / "new" / "case").mkdir(parents=True)
    (draft / "new" / "case" / "seg.nii.gz").write_bytes(b"half")
    (draft / "lock").write_bytes(b"process 1 on node-1 since 2026-01-01 00:00:00")
    return draft


def test_leftovers_of_the_dead_are_removed_and_all_else_is_spared(tmp_path: Path) -> None:
    make_draft(tmp_path, ".tmp-abcd_123")
    (tmp_path / ".tmp-nolock11").mkdir()  # killed right after it was made
    kept = [".tmp-", ".tmp-notes-x", ".tmp-12-node-folder", "tmp-abcd_123", ".tmp-afile123"]
    for name in kept[:-1]:
        make_draft(tmp_path, name)
    (tmp_path / kept[-1]).write_bytes(b"x")
    files.clear_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept)


def test_no_link_is_taken_for_a_draft(tmp_path: Path) -> None:
    mine = make_draft(tmp_path / "elsewhere", ".tmp-abcd_123")
    (mine / "before" / "case").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".tmp-abcd_124").symlink_to(mine, target_is_directory=True)
    files.clear_leftovers(tmp_path / "out")
    assert names(tmp_path / "out") == [".tmp-abcd_124"]
    assert names(mine) == ["before", "lock", "new"]


_HOLD = (
    "import pathlib, sys; from gliomaseg.storage import files\n"
    "with files.open_folder(pathlib.Path(sys.argv[1])) as folder:\n"
    "    files.write_text(folder / 'a.txt', 'new'); print('ready', flush=True); sys.stdin.read()"
)


def test_a_draft_of_a_living_process_is_spared_whatever_its_number_and_its_host(tmp_path: Path) -> None:
    """As in a second container, where process 1 of a host of the same name is another process."""
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "case")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n"
        (draft,) = tmp_path.iterdir()
        (draft / "lock").write_text("process 1 on node-1 since 2026-01-01 00:00:00")
        files.clear_leftovers(tmp_path)
        assert (draft / "new" / "case" / "a.txt").exists()
        process.stdin.close()
    assert process.returncode == 0
    assert names(tmp_path) == ["case"]


def test_without_exclusive_locks_no_draft_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_draft(tmp_path, ".tmp-abcd_123")
    monkeypatch.setattr("fcntl.flock", fail(errno.ENOLCK))
    files.clear_leftovers(tmp_path)
    assert (tmp_path / ".tmp-abcd_123" / "new" / "case" / "seg.nii.gz").exists()


def test_a_draft_that_another_process_takes_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making a draft and locking it another process may come by: removed, or about to be."""
    take, tries = locks.take, []

    def meddle(path: Path) -> object:
        tries.append(path.parent.name)
        if len(tries) == 1:
            path.parent.rmdir()
        return None if len(tries) == 2 else take(path)

    monkeypatch.setattr(locks, "take", meddle)
    files.write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
    assert len(set(tries)) == 3


def test_a_killed_write_is_cleared_away_by_the_next_process(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys; from gliomaseg.storage import files\n"
        "with files.open_atomic(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], check=False)
    assert [name.startswith(".tmp-") for name in names(tmp_path)] == [True]
    files.clear_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "case"
    for content in ("old", "new"):
        with files.open_folder(target) as folder:
            files.write_text(folder / "a.txt", content)
            assert not target.exists() or (target / "a.txt").read_text() == "old"
        assert names(tmp_path) == ["case"]
        assert (target / "a.txt").read_text() == content
    with pytest.raises(Crash), files.open_folder(target) as folder:  # noqa: PT012
        files.write_text(folder / "a.txt", "half")
        raise Crash
    assert (target / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["case"]


@pytest.mark.parametrize("moment", [1, 2])
def test_a_kill_between_two_folders_keeps_one_of_them(tmp_path: Path, moment: int) -> None:
    """Killed before the old folder is moved aside, or right after."""
    code = (
        "import os, pathlib, signal, sys; from gliomaseg.storage import files\n"
        "target, count, replace = pathlib.Path(sys.argv[1]), [0], pathlib.Path.replace\n"
        "def kill(self, to):\n"
        "    count[0] += self == target or pathlib.Path(to) == target\n"
        "    count[0] == int(sys.argv[2]) and os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return replace(self, to)\n"
        "pathlib.Path.replace = kill\n"
        "with files.open_folder(target) as folder:\n"
        "    files.write_text(folder / 'a.txt', 'new')\n"
    )
    with files.open_folder(tmp_path / "case") as folder:
        files.write_text(folder / "a.txt", "old")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "case"), str(moment)], check=False)
    assert (moment == 1) == (tmp_path / "case").exists()
    files.clear_leftovers(tmp_path)
    assert names(tmp_path) == ["case"]
    assert (tmp_path / "case" / "a.txt").read_text() == "old"


def test_a_claim_keeps_others_out_and_ends_with_its_process(tmp_path: Path) -> None:
    target = tmp_path / "case"
    with files.claim(target), pytest.raises(OutputError, match="E-LOCKED") as caught, files.claim(target):
        pass
    assert f"process {os.getpid()}" in caught.value.what
    assert names(tmp_path) == []
    code = (
        "import os, pathlib, signal, sys; from gliomaseg.storage import files\n"
        "with files.claim(pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert names(tmp_path) == [".lock-case"]
    with files.claim(target):
        pass
    assert names(tmp_path) == []


def test_without_support_for_locks_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", fail(errno.ENOLCK))
    with files.claim(tmp_path / "case"):
        assert names(tmp_path) == [".lock-case"]
    assert names(tmp_path) == []
    with pytest.raises(OutputError), files.claim(tmp_path / "no" / "case"):
        pass


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tries = tmp_path / ".lock-case", []

    def flock(*_: object) -> None:
        tries.append(path.exists())
        if len(tries) == 1:
            path.unlink()  # as by its owner, who has just finished

    monkeypatch.setattr("fcntl.flock", flock)
    with files.claim(tmp_path / "case"):
        assert len(tries) == 2


def test_a_disk_without_room_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"E-DISK: .* has room for"):
        files.make_folder(tmp_path / "out", room=1 << 60)


@pytest.mark.parametrize("moment", ["aside", "there"])
@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_an_interrupt_between_two_folders_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, kind: type[BaseException]
) -> None:
    target, replace = tmp_path / "case", Path.replace
    with files.open_folder(target) as folder:
        files.write_text(folder / "a.txt", "old")

    def interrupt(self: Path, to: Path) -> Path:
        if self.parent.name == "new" and to == target:
            raise kind
        if self == target and moment == "aside":
            replace(self, to)
            raise kind
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises((OutputError, KeyboardInterrupt)), files.open_folder(target) as folder:
        files.write_text(folder / "a.txt", "new")
    assert names(tmp_path) == ["case"]
    assert (target / "a.txt").read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
@pytest.mark.parametrize("kind", ["link", "broken", "second name", "pipe", "folder"])
def test_what_is_no_lock_is_neither_followed_nor_changed(tmp_path: Path, kind: str) -> None:
    lock, precious = tmp_path / "out" / ".lock-case", tmp_path / "precious.txt"
    lock.parent.mkdir()
    precious.write_text("years of work")
    if kind == "link":
        lock.symlink_to(precious)
    elif kind == "broken":
        lock.symlink_to(tmp_path / "made-through-a-link")
    elif kind == "second name":
        lock.hardlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with (
        pytest.raises(OutputError, match=r"\.lock-case.* not a lock") as caught,
        files.claim(lock.parent / "case"),
    ):
        pass
    assert "remove it" in caught.value.remedy
    assert precious.read_text() == "years of work"
    assert names(tmp_path) == ["out", "precious.txt"]
    assert lock.is_symlink() or lock.exists()


def test_a_file_that_is_called_like_a_lock_keeps_its_words(tmp_path: Path) -> None:
    lock = tmp_path / ".lock-case"
    lock.write_text("mine")
    with files.claim(tmp_path / "case"), pytest.raises(OutputError, match="another process"):  # noqa: SIM117
        with files.claim(tmp_path / "case"):
            pass
    assert lock.read_text() == "mine"


def test_the_longest_name_of_all_can_be_claimed(tmp_path: Path) -> None:
    target = tmp_path / ("ä" * 127)
    with files.claim(target), files.open_folder(target) as folder:
        files.write_text(folder / "a.txt", "x")
    assert names(tmp_path) == [target.name]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_of_any_bytes_are_written_and_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"patient-M\xfcller")
    target = tmp_path / name
    with files.claim(target), files.open_folder(target) as folder:
        files.write_json(folder / "run.json", {"case": name})
    assert json.loads((target / "run.json").read_text(encoding="utf-8")) == {"case": name}
