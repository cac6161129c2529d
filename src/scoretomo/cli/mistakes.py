"""Mistakes in a command, and failures of the system, in one sentence."""

import inspect
import os
import re

from cyclopts import App, Argument, CycloptsError, MissingArgumentError, UnusedCliTokensError, ValidationError

_WORDS = (
    (". Choose from:", ", choose from"),
    (". Must be", ", must be"),
    ("into int", "into a whole number"),
)  # theirs, ours


def of_a_command(error: CycloptsError, app: App) -> str:
    """What is wrong with a command, and where one reads how it should be.

    Args:
        error: of the parser.
        app: its commands; their docstrings describe each argument.
    """
    command = " ".join(["scoretomo", *(error.command_chain or ())])
    text, _, rest = str(error).partition(" Did you mean ")
    meant = f", did you mean {rest.partition('?')[0]}" if rest else ""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        what = f"{command} needs {_missing(error, error.argument, app)}"
    elif isinstance(error, UnusedCliTokensError):
        what = f"{command} has no use for {', '.join(error.unused_tokens or ())}"
    elif isinstance(error, ValidationError):
        what = error.exception_message
    else:
        what = text.partition(" Available commands")[0].rstrip(".")
        for theirs, ours in _WORDS:
            what = what.replace(theirs, ours)
        what = what[0].lower() + what[1:]
    return f"{what}{meant}: see {command} --help"


def _missing(error: MissingArgumentError, argument: Argument, app: App) -> str:
    """An argument that is missing, with its help, or a value of an option."""
    if not argument.required:
        got = " ".join(error.tokens_so_far)
        return f"more values for {argument.name} than {got}" if got else f"a value for {argument.name}"
    documented = inspect.getdoc(app[(error.command_chain or ("run",))[0]].default_command) or ""
    entry = re.search(rf"^{argument.field_info.name}\n((?: {{4}}.*\n?)+)", documented, re.MULTILINE)
    positional = argument.field_info.kind.name != "KEYWORD_ONLY"
    name = argument.name.removeprefix("--").upper() if positional else argument.name
    described = argument.parameter.help or (entry[1] if entry else "")
    return f"{name} ({' '.join(described.split()).rstrip('.')})" if described else name


def of_the_system(error: OSError) -> str:
    """A failure of the system that was not foreseen; libraries often do not name the file."""
    what = (error.strerror or " ".join(str(error).split()) or type(error).__name__).lower()
    if error.filename is None:
        return f"the system failed ({what}): check the disk, and your rights to the files of this command"
    return f"cannot use {os.fsdecode(error.filename)} ({what}): check the path"
