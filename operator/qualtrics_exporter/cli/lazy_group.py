"""A group of commands that imports a command when it is called, and not when it is listed."""

from collections.abc import Callable, Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """`texts` has the name and one sentence of each command, `find` imports the command of a name."""

    def __init__(self, *args: Any, texts: Mapping[str, str], find: Callable[[str], Any], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._texts, self._find = texts, find

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._texts)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._texts:
            return None
        command = self._find(cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click would suggest only commands that are imported already.
        if args and not args[0].startswith("-") and args[0] not in self._texts:
            ctx.fail(f"No such command '{args[0]}'. The commands are {', '.join(self._texts)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._texts.items()))
