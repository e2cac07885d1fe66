"""Groups of commands as people type them: aliases, `-o json` before the verb, a near miss named."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# What other tools call the same thing. Only where the group has no command of that name.
ALIASES: Final = {"rm": "remove", "delete": "remove"}
LISTS: Final = ("list", "ls")  # the group alone is its list
WORDS: Final = "fleet.words"  # in a context's meta: what was typed after the outermost group


class Verbs(click.Group):
    """A click group whose output format goes on to the command that follows it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`devices ls` is `devices`."""
        ctx.meta.setdefault(WORDS, list(args))
        at = _past_output(args)
        listed = self.invoke_without_command and args[at : at + 1]
        if listed and listed[0] in LISTS and listed[0] not in self.names():
            args = [*args[:at], *args[at + 1 :]]
        return super().parse_args(ctx, args)

    def names(self) -> list[str]:
        """Every command's name."""
        return sorted(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, also by another tool's word for it."""
        found = super().get_command(ctx, cmd_name)
        return found or super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that follows, told the format; a mistyped one with the nearest name."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.names(), 1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"there is no command {args[0]!r}{guess}", ctx)
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and _says_output(ctx):
            _hand_on(ctx, str(name), command)
        return name, command, rest


class LazyVerbs(Verbs):
    """Verbs whose modules are imported when they are asked for: a cold start loads one of them.

    `homes` says where each stands, as "package.module:attribute".
    """

    def __init__(self, *args: Any, homes: Mapping[str, str], **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self._homes = homes

    def names(self) -> list[str]:
        """Every command's name, loaded or not."""
        return sorted({*self.commands, *self._homes})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As help shows them."""
        return self.names()

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Names alone: to say what each does would load every command at each press of Tab."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]
        return found or click.Command.shell_complete(self, ctx, incomplete)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded."""
        if cmd_name in self._homes and cmd_name not in self.commands:
            module, _, attribute = self._homes[cmd_name].partition(":")
            self.add_command(getattr(import_module(module), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)


def _past_output(args: list[str]) -> int:
    """Where the words after a leading `-o FORMAT` begin."""
    if args[:1] and args[0] in ("-o", "--output"):
        return 2
    return int(bool(args) and args[0].startswith(("-o", "--output=")))


def _says_output(ctx: click.Context) -> bool:
    given = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    return "output" in ctx.params and ctx.get_parameter_source("output") in given


def _hand_on(ctx: click.Context, name: str, command: click.Command) -> None:
    """The command starts out with the group's format; its own `-o` still wins."""
    if all(parameter.name != "output" for parameter in command.params):
        raise click.UsageError(f"{ctx.command_path} {name} has no -o: it prints no table", ctx)
    defaults: dict[str, Any] = {name: {"output": ctx.params["output"]}}
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
