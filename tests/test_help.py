"""The help of the command line: every option of every command says what it is for."""

import pytest

from scoretomo.cli.app import app

COMMANDS = [name for name in app if not name.startswith("-")]


def test_there_are_commands() -> None:
    assert {"run", "import", "evaluate"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help(name: str) -> None:
    options = app[name].assemble_argument_collection(parse_docstring=True).filter_by(show=True)
    assert options
    assert [option.name for option in options if not (option.parameter.help or "").strip()] == []
