"""`fleet completion`: click's own completion of commands and options, for a shell to read."""

from typing import Final

import click

VARIABLE: Final = "_FLEET_COMPLETE"  # how a shell asks click; it is made from the program's name
# Where each shell reads it by itself.
WHERE: Final = {
    "bash": "~/.local/share/bash-completion/completions/fleet",
    "zsh": "a file _fleet in a folder of $fpath",
    "fish": "~/.config/fish/completions/fleet.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(WHERE)))
def completion(shell: str) -> None:
    """Print what has a shell complete commands and options.

    Write it where your shell looks for such, and open a new one:

    \b
    bash  ~/.local/share/bash-completion/completions/fleet
    zsh   a file _fleet in a folder of $fpath
    fish  ~/.config/fish/completions/fleet.fish

    bash has to be 4.4 or later; the one of macOS is not.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from mesh.cli.app import fleet

    kind = get_completion_class(shell)
    assert kind is not None  # click knows each of WHERE
    # Not kind.source: for bash it starts one to ask its version.
    click.echo(ShellComplete.source(kind(fleet, {}, "fleet", VARIABLE)))
