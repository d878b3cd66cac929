"""Completion of words in shells."""

from __future__ import annotations

import click

SHELLS = ("bash", "fish", "zsh")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that makes SHELL complete commands, options and the names of lists.

    \b
    bash: bootunion completion bash > ~/.local/share/bash-completion/completions/bootunion
    zsh:  bootunion completion zsh > "${fpath[1]}/_bootunion"
    fish: bootunion completion fish > ~/.config/fish/completions/bootunion.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    print(kind(root, {}, "bootunion", "_BOOTUNION_COMPLETE").source())
