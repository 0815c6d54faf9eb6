"""`lakehouse --help`: grouped by what the commands are for, a sentence each."""

from __future__ import annotations

from typing import cast

import pytest
from typer.core import TyperCommand, TyperGroup

from lakehouse.cli.main import PANELS, grouped_commands


@pytest.fixture(scope="module")
def commands() -> TyperGroup:
    return grouped_commands()


def test_every_command_is_in_one_group_of_the_help(commands: TyperGroup) -> None:
    listed = [name for names in PANELS.values() for name in names]
    assert list(commands.commands) == listed
    for panel, names in PANELS.items():
        assert {cast(TyperCommand, commands.commands[name]).rich_help_panel for name in names} == {panel}


def test_the_help_gives_each_command_a_sentence(commands: TyperGroup) -> None:
    for name, command in commands.commands.items():
        assert command.short_help, name
        assert ". " not in str(command.short_help), name
        assert str(command.help).startswith(str(command.short_help)), name
