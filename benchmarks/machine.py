"""What a measurement was made with, for the results files that are committed."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent


def commit() -> str:
    """The state of the program that is measured."""
    asked = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def processor() -> str:
    """Name of the processor, where Linux says it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def described() -> dict[str, Any]:
    """Commit, processor, cores and Python, as entries of a results file."""
    return {"commit": commit(), "machine": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
