"""What is printed where the terminal is not the usual one: not UTF-8, gone, or none."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scoretomo.cli import main

INFO = (sys.executable, "-m", "scoretomo.cli", "info")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch):
    """Run the program on a terminal of an encoding: exit code, and the bytes on its output and its errors."""

    def call(encoding: str, *arguments: object) -> tuple[int, bytes, bytes]:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            monkeypatch.setattr(sys, name, stream)
        monkeypatch.setattr(sys, "argv", ["scoretomo", *map(str, arguments)])
        code = main()
        for stream in streams:
            stream.flush()
        return code, *(stream.buffer.getvalue() for stream in streams)

    return call


@pytest.mark.parametrize(("encoding", "size"), [("ascii", "16?16"), ("latin-1", "16×16"), ("utf-8", "16×16")])
def test_letters_that_a_terminal_does_not_have_are_question_marks(encoding, size, box, printed):
    code, out, _ = printed(encoding, "info", box)
    assert code == 0
    assert f"20 images of {size} pixels".encode(encoding) in out
    assert (b" ? " in out) == (encoding != "utf-8")  # from the least value … to the largest


def test_a_mistake_is_printed_to_such_a_terminal_too(tmp_path, printed):
    code, _, errors = printed("ascii", "info", tmp_path / "Å.mrcs")
    assert code == 2
    assert b"?.mrcs: check the path" in errors


def test_a_name_that_is_no_text_is_shown_with_question_marks(box, tmp_path, printed):
    path = tmp_path / os.fsdecode(b"\xff.mrcs")
    path.write_bytes(box.read_bytes())
    code, out, _ = printed("utf-8", "info", path)
    assert code == 0
    assert b"?.mrcs: 20 images" in out


@pytest.mark.parametrize("words", [("info",), ("info", "--help")])
def test_an_output_that_nobody_reads_ends_the_program_silently_as_a_signal_does(words, box):
    with subprocess.Popen([*INFO[:-1], *words, box], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_without_a_terminal_and_an_input_all_works(tmp_path: Path):
    words = ("simulate", "box", "--images", "2", "--size", "8", "--workers", "2", "--output", str(tmp_path / "box"))
    closed = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *INFO[:-1], *words]
    done = subprocess.run(closed, stderr=subprocess.PIPE, start_new_session=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "box" / "truth" / "001.mrc").exists()
