"""The messages of the program, as tests/snapshots/messages.txt has them: below the name of a test those that it causes.

SNAPSHOT=renew pytest tests/test_star.py  writes those of these tests anew
"""

import fcntl
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

SNAPSHOT = Path(__file__).parent / "snapshots" / "messages.txt"
VARYING = (
    (r"(?ms)\A.*^(?=scoretomo: )", ""),  # what was printed before a refusal
    (r"\s+", " "),
    (r"\.\d+\.part", ".N.part"),
    (r"\d\d:\d\d on \d+ \w+ \d{4}", "TIME"),
    (r"there is [\d.e+]+ GiB", "there is N GiB"),
    (r"\((Unable to |\S+\.cif:\d).*\)(?=: )", "(…)"),  # words of a library
    (r"(.)\1{20,}", r"\1\1\1…"),
)


def plain(message: object, folder: Path, base: Path) -> str:
    """A message on one line, without what varies from run to run: the folder of the test, and those of all tests."""
    text = re.sub(rf"{folder}|{base}/\w+\d(?![\w.])|{base}|{base.parent}", "…", str(message).strip())
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return text


def known() -> dict[str, list[str]]:
    """Messages by the name of their test."""
    return _parsed(SNAPSHOT.read_text(encoding="utf-8"))


def renew(test: str, messages: Sequence[str]) -> None:
    """Write the messages of a test; other processes may do the same at the time."""
    with open(SNAPSHOT, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = _written(_parsed(file.read()) | {test: list(messages)})
        file.seek(0)
        file.truncate()
        file.write(text)


def _parsed(text: str) -> dict[str, list[str]]:
    blocks = [block.split("\n    ") for block in text.strip().split("\n\n") if block]
    return {name: messages for name, *messages in blocks}


def _written(messages: Mapping[str, Sequence[str]]) -> str:
    return "\n\n".join("\n    ".join([name, *messages[name]]) for name in sorted(messages)) + "\n"
