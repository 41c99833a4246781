"""Files are whole or not there, on the disk before they have their name, and leave no litter."""

import itertools
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pvm_perception.atomic_file import atomic_file
from pvm_perception.errors import PvmError


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def write(path, data=b"new"):
    with atomic_file(path, "model") as part:
        part.write_bytes(data)


def test_written_whole_with_the_mode_that_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a" / "b" / "m.bin", b"12345")
    finally:
        os.umask(before)
    file = tmp_path / "a" / "b" / "m.bin"
    assert file.read_bytes() == b"12345"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert names(file.parent) == ["m.bin"]


def test_flushed_before_it_gets_its_name_and_the_name_after(tmp_path, monkeypatch):
    done = []
    sync, move = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (done.append(Path(f"/proc/self/fd/{fd}").readlink()), sync(fd))
    )
    monkeypatch.setattr(Path, "replace", lambda a, b: (done.append("move"), move(a, b)))
    write(tmp_path / "m.bin")
    part, moved, folder = done
    assert part.parent == tmp_path and part.suffix == ".bin" and part.name != "m.bin"
    assert (moved, folder) == ("move", tmp_path)


def test_a_reader_of_the_old_file_and_the_target_of_a_link(tmp_path):
    write(tmp_path / "m.bin", b"old")
    (tmp_path / "link.bin").symlink_to("m.bin")
    with (tmp_path / "m.bin").open("rb") as reader:
        write(tmp_path / "link.bin", b"new")
        assert reader.read() == b"old"
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "m.bin").read_bytes() == b"new"


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
    write(tmp_path / "m.bin", b"old")
    with pytest.raises(KeyError), atomic_file(tmp_path / "m.bin") as part:
        part.write_bytes(b"half")
        raise KeyError
    assert (tmp_path / "m.bin").read_bytes() == b"old"
    assert names(tmp_path) == ["m.bin"]


def test_reasons(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for path, reason in (
        (tmp_path / "file" / "m.bin", "File exists"),
        (tmp_path / "folder", "Is a directory"),
        (Path("/proc/m.bin"), "No such file or directory"),
        (Path("/dev/full"), "No space left"),
    ):
        with pytest.raises(PvmError, match=f"cannot write the model to {path}: {reason}") as error:
            write(path)
        assert "\n" not in str(error.value)
    assert names(tmp_path) == ["file", "folder"]


def test_a_disk_that_gets_full(tmp_path):
    write(tmp_path / "m.bin", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(PvmError, match=r"cannot write the model to .*: File too large"):
            write(tmp_path / "m.bin", bytes(2 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "m.bin").read_bytes() == b"old"
    assert names(tmp_path) == ["m.bin"]


def test_what_a_killed_writer_left_is_swept_but_not_what_another_writes(tmp_path):
    code = (
        "import sys, time; from pvm_perception.atomic_file import atomic_file\n"
        "with atomic_file(sys.argv[1]) as part:\n"
        "    part.write_bytes(b'half'); print(flush=True); time.sleep(60)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "m.bin"], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for writer in writers:
            writer.stdout.readline()
        (tmp_path / "notes.part").write_text("the user's own")
        writers[0].kill()
        writers[0].wait()
        assert len(names(tmp_path)) == 3
        write(tmp_path / "other.bin")
        left = names(tmp_path)
        assert left[1:] == ["notes.part", "other.bin"] and left[0].endswith(".part.bin")
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    write(tmp_path / "other.bin")
    assert names(tmp_path) == ["notes.part", "other.bin"]


def test_writers_of_one_target_never_mix(tmp_path):
    path, seen = tmp_path / "m.bin", []
    write(path, bytes([9]) * (1 << 18))

    def many(value):
        for _ in range(20):
            write(path, bytes([value]) * (1 << 18))

    writers = [threading.Thread(target=many, args=(value,)) for value in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.append(path.read_bytes())
    for data in [*seen, path.read_bytes()]:
        assert len(data) == 1 << 18 and len(set(data)) == 1
    assert names(tmp_path) == ["m.bin"]


def test_killed_at_any_moment_there_is_the_old_or_the_new(tmp_path):
    """A short form of `make torture`'s, with bytes instead of a model."""
    path, draw = tmp_path / "m.bin", random.Random(1)
    write(path, bytes(1 << 20))
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            try:
                for value in itertools.cycle(range(256)):
                    write(path, bytes([value]) * (1 << 20))
            finally:
                os._exit(1)
        time.sleep(draw.uniform(0.005, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        data = path.read_bytes()
        assert len(data) == 1 << 20 and len(set(data)) == 1
    write(path)
    assert names(tmp_path) == ["m.bin"]
