"""From what is typed to a command and its exit code."""

import io
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Annotated

import cyclopts
from cyclopts import CycloptsError, Group, Parameter

from ..errors import InputError, NoVolumesError, WorkerError
from ..files import read_toml
from .app import app
from .mistakes import of_a_command, of_the_system

app.meta.suppress_keyboard_interrupt = False
app.meta.group_parameters = Group("Settings from a file", sort_key=9)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[
        Path | None,
        Parameter(
            help="TOML file with settings, such as config.toml of a run; what is typed here wins.", show_default=False
        ),
    ] = None,
) -> int:
    """Read --config, then run the command."""
    settings = {} if config is None else read_toml(config)
    commands = [name for name in app if not name.startswith("-")]
    unknown = [name for name, value in settings.items() if name not in commands or not isinstance(value, dict)]
    if unknown:
        raise InputError(
            f"{config} should have a section for each command ({', '.join(commands)}), got {unknown[0]!r}: correct it"
        )
    app.config = cyclopts.config.Dict(settings, source=str(config))
    return int(app(tokens, exit_on_error=False, print_error=False, result_action="return_value") or 0)


def _stop(number: int, _: FrameType | None) -> None:
    """A batch system's signal stops the program as Ctrl-C does."""
    raise KeyboardInterrupt(number)


def _print_what_can_be_printed() -> None:
    """Print a question mark for letters that the terminal's encoding lacks, and for bytes of a path that are no
    letter.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not closed
            stream.reconfigure(errors="replace")


def main() -> int:
    """Entry point of the command.

    Returns:
        Exit code: 2 with one sentence for a user's mistake; 128 and the signal's number when stopped.
    """
    signal.signal(signal.SIGTERM, _stop)
    _print_what_can_be_printed()
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    try:
        return int(app.meta(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value") or 0)
    except CycloptsError as error:
        print(f"scoretomo: {of_a_command(error, app)}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"scoretomo: {error}", file=sys.stderr)
        return 2
    except (NoVolumesError, WorkerError) as error:
        print(f"scoretomo: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print(
            "scoretomo: out of memory: run the same command again with fewer --workers, or a smaller --size",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        print(f"scoretomo: {of_the_system(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("\nscoretomo: stopped; run the same command again to continue", file=sys.stderr)
        return 128 + (stop.args or (signal.SIGINT,))[0]
