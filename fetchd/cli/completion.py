"""``fetchd completion``: the script that teaches a shell to complete fetchd's command line; and account names for it.

Completing never fails and says nothing but names: where the configuration cannot be read there are none.
"""

import os
import re
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_FETCHD_COMPLETE"
"""Set by the script where a shell wants something completed; ``fetchd.cli.main`` looks for it."""
_AFTERWARDS = {"bash": "\nCOMP_WORDBREAKS=${COMP_WORDBREAKS//@}\n"}
"""For bash an @ ends a word, unless it is told otherwise; but the name of an account may hold one."""


@click.command(short_help="Print what makes a shell complete fetchd's command line.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete commands, options and the names of accounts.

    \b
    bash: in ~/.bashrc                  eval "$(fetchd completion bash)"
    zsh:  in ~/.zshrc, after compinit   eval "$(fetchd completion zsh)"
    fish: fetchd completion fish >~/.config/fish/completions/fetchd.fish
    """  # noqa: D301 - for click: the lines of this paragraph stay as they are
    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    # Not made.source(): for bash that would run the bash there is, and refuse an old one on standard error.
    program = made(click.Command("fetchd"), {}, "fetchd", VARIABLE)
    click.echo(program.source_template % program.source_vars() + _AFTERWARDS.get(shell, ""))


def complete(cli: click.Command) -> int:
    """Answers a shell that completes, in the way that the script of ours asks; returns the exit code."""
    try:
        return shell_complete(cli, {}, "fetchd", VARIABLE, os.environ[VARIABLE])
    except Exception:  # noqa: BLE001 - whatever it is, it would come in between what somebody types
        return 1


def account_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the accounts whose names begin like this, for click to complete; none where nobody knows."""
    try:
        return [CompletionItem(name) for name in _names(context) if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - whatever it is, a shell that completes is no place to tell of it
        return []


def _names(context: click.Context) -> list[str]:
    """Returns the names below ``accounts``: of a file with a mistake in it, too."""
    from fetchd.config import find_config  # noqa: PLC0415 - heavy, and a completed option does without
    from fetchd.config.document import parse  # noqa: PLC0415 - likewise
    from fetchd.config.fields import ACCOUNT_NAME  # noqa: PLC0415 - likewise

    given = context.find_root().params.get("config")
    path = find_config(Path(given) if given else None, os.environ)
    node = parse(path.read_text(encoding="utf-8"), path).node(("accounts",))
    taken = context.params.get("names") or ()
    there = node.value if node and isinstance(node.value, dict) else {}
    # A name that cannot be one is not for a shell to see, which might expand it.
    return [name for name in there if name not in taken and re.match(ACCOUNT_NAME, name)]
