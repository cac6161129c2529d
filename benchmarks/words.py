"""The language of the project: words of the README, lengths of sentences, the field's terms in source and pages.

    python benchmarks/words.py                 this work tree
    python benchmarks/words.py --commit HEAD~9 a commit, unpacked to a temporary folder

Sentences are those of paragraphs and list items in README.md and docs/: no code, tables, headings or figures.
"""

import argparse
import io
import re
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TERMS = (
    "class average",
    "consensus volume",
    "heterogeneity",
    "deformation",
    "latent",
    "modes?(?![a-z])",
    "denoiser",
    "soft assignment",
    "hard assignment",
    "held-out|held_out",
    "cross-validation",
    "residual fraction|residual_fraction",
    "flexibility",
    "pose rescue|pose_rescue",
    "outlier",
    "mixture",
    "noise floor|noise_floor",
    "significant component|significant_component",
    "replicate",
    "reliability",
    "unreliable",
    "trajectory|trajectories",
    "displacement",
    "start weight|start_weight",
    "time estimate|time_estimate",
    "heartbeat",
)
# Words that a term of the glossary replaces. Not here: those that are also a term, such as score, fields, coordinates.
PRIVATE = (
    "ask(s|ed|ing)?|unasked",
    "say(s)?|said",
    "tell(s)?|told",
    "taught|teach(es|ing)?",
    "known|knows?",
    "settle(s|d)?|settling",
    "soften(s|ed|ing)?",
    "single poses",
    "soft match",
    "trust(s|ed)?",
    "marks?",
    "word(s)?",
    "chance",
    "clear",
    "evidence",
    "unexplained",
    "leave(s)?|leaving",
    "left out",
    "found",
    "kept",
    "moves",
    "modelled",
    "taken as rigid|taken for rigid",
    "way(s)?",
    "far",
    "travel(s)?",
    "from end to end",
    "cloud(s)?",
    "mine",
    "theirs",
    "outlook",
    "pulse",
    "feel",
    "second look|look again",
    "stranger(s)?",
    "odd",
    "second",
    "parted",
    "replica(s)?",
    "something else",
    "scores.csv",
)


def pages(root: Path) -> list[Path]:
    """README and the pages of the docs."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def source(root: Path) -> str:
    """All of the package."""
    files = (path for path in sorted((root / "src").rglob("*")) if path.suffix in (".py", ".html", ".js"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def sentences(text: str) -> list[int]:
    """Words of each sentence of the prose of a Markdown page."""
    text = re.sub(r"^```.*?^```$|^<!--.*?-->$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    paragraphs, current = [], list[str]()
    for line in [*text.splitlines(), ""]:
        other = not line.strip() or re.match(r"#|\s*\||    |!", line)
        if other or re.match(r"\s*([-*]|\d+\.) ", line):
            paragraphs.append(" ".join(current))
            current = []
        if not other:
            current.append(re.sub(r"^\s*([-*]|\d+\.) ", "", line).strip())
    parts = (part for paragraph in paragraphs for part in re.split(r"(?<=[.!?])[*_]*\s+(?=[A-Z0-9*`_])", paragraph))
    return [count for part in parts if (count := len(re.findall(r"\S*\w\S*", part)))]


def counts(terms: Iterable[str], text: str) -> dict[str, int]:
    """How often each term occurs, in any case; plurals and names with underscores count."""
    return {term: len(re.findall(rf"(?<![a-zA-Z])(?:{term})", text, re.IGNORECASE)) for term in terms}


def whole(terms: Iterable[str], text: str) -> dict[str, int]:
    """How often each word occurs by itself."""
    return {term: len(re.findall(rf"(?<![a-zA-Z])(?:{term})(?![a-zA-Z])", text, re.IGNORECASE)) for term in terms}


def show(root: Path) -> None:
    """Print everything about a work tree."""
    prose = "\n\n".join(path.read_text(encoding="utf-8") for path in pages(root))
    print("README words:", len((root / "README.md").read_text(encoding="utf-8").split()))
    for name, text in (("README", (root / "README.md").read_text(encoding="utf-8")), ("README and docs", prose)):
        lengths = sorted(sentences(text))
        ninetieth = statistics.quantiles(lengths, n=10)[-1]
        median = statistics.median(lengths)
        print(f"sentences, {name}: {len(lengths)}, median {median:.0f} words, 90th percentile {ninetieth:.0f}")
    code = source(root)
    for title, count, terms in (("term of the field", counts, TERMS), ("private word", whole, PRIVATE)):
        print(f"\n| {title} | src | docs |\n|---|---:|---:|")
        inside, outside = count(terms, code), count(terms, prose)
        for term in terms:
            print(f"| {term.split('|')[0].split('(')[0]} | {inside[term]} | {outside[term]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit")
    commit = parser.parse_args().commit
    if commit is None:
        show(ROOT)
        return
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
        show(Path(folder))


if __name__ == "__main__":
    main()
