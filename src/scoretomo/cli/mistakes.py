"""What is wrong with the words of a command, in one sentence."""

import inspect
import os
import re

from cyclopts import App, Argument, CycloptsError, MissingArgumentError, UnusedCliTokensError


def told(error: CycloptsError, app: App) -> str:
    """What is wrong, and where one sees how it should be.

    Args:
        error: what the parser has found.
        app: its commands; their docstrings say what each argument is.
    """
    asked = " ".join(["scoretomo", *(error.command_chain or ())])
    text, _, rest = str(error).partition(" Did you mean ")
    meant = f", did you mean {rest.partition('?')[0]}" if rest else ""
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        what = f"{asked} needs {_needed(error, error.argument, app)}"
    elif isinstance(error, UnusedCliTokensError):
        what = f"{asked} does not know what to do with {', '.join(error.unused_tokens or ())}"
    else:
        what = text.partition(" Available commands")[0].rstrip(".")
        for theirs, ours in ((". Choose from:", ", choose from"), (". Must be", ", must be"), ("into int", "into a whole number")):
            what = what.replace(theirs, ours)
        what = what[0].lower() + what[1:]
    return f"{what}{meant}: see {asked} --help"


def _needed(error: MissingArgumentError, argument: Argument, app: App) -> str:
    """What was not given: an argument that has to be, as the help of the command says, or a value of an option."""
    if not argument.required:
        got = " ".join(error.tokens_so_far)
        return f"more values for {argument.name} than {got}" if got else f"a value for {argument.name}"
    documented = inspect.getdoc(app[(error.command_chain or ("run",))[0]].default_command) or ""
    said = re.search(rf"^{argument.field_info.name}\n((?: {{4}}.*\n?)+)", documented, re.MULTILINE)
    positional = argument.field_info.kind.name != "KEYWORD_ONLY"
    name = argument.name.removeprefix("--").upper() if positional else argument.name
    return f"{name} ({' '.join(said[1].split()).rstrip('.')})" if said else name


def of_the_system(error: OSError) -> str:
    """A failure of the system that nothing has met before; libraries often do not say of which file."""
    what = (error.strerror or " ".join(str(error).split()) or type(error).__name__).lower()
    if error.filename is None:
        return f"the system failed ({what}): check the disk, and your rights to what was given"
    return f"cannot use {os.fsdecode(error.filename)} ({what}): check the path"
