"""Writes docs/cli.md from the help of the verbs: `python -m loopat_jupyter.cli.reference > docs/cli.md`."""

from __future__ import annotations

import inspect
import re

import click

from loopat_jupyter.cli.app import PROGRAM, VERBS, app

_RANGE = re.compile(r"\s+\[[^]]*\]\Z")
"""What click adds about the range of a number; the words say it."""

_HEAD = """\
# Command line: `jupyter loopat`

<!-- Written by `python -m loopat_jupyter.cli.reference > docs/cli.md`; a test compares. -->

`jupyter loopat` does from a terminal what JupyterLab does with loops: both see the same loops at once, and neither
needs the other to run.

## Naming a loop

LOOP is the id of a loop, the first four or more characters of it, its short name, or its title in quotes. `.` is the
loop whose folder you are in. A name that nearly fits is answered with "Did you mean …?", one that several loops have
with their ids.

## What all verbs share

- Results go to standard output; progress, warnings and errors to standard error. On a terminal long work shows a bar,
  elsewhere one line per step.
- `--json` prints JSON and nothing else.
- `--no-color`, or the variable `NO_COLOR`, turns colours off; they are off by themselves where there is no terminal.
- `--debug`, before the verb, says what is being done and where an error comes from.
- Ctrl-C, a closed terminal and `kill` end what was started, an image build included.

| exit code | means |
|---|---|
| 0 | done |
| 1 | it failed, or there is no such loop, or a required check of `doctor` fails |
| 2 | bad input (of `exec`: 125) |
| 3 | there is no podman that can be run; `jupyter loopat doctor` says what to do |
| 124 | it took too long, or the `--timeout` of `exec` passed |
| 125 | `exec` only: the command could not be run, or there is no such loop |
| 127 | `exec` only: there is no such command in the loop; any other code is the command's own |
| 130 | ended by Ctrl-C, or the answer to a question was no |
| 141, 143 | ended because nobody reads the output any more (`… \\| head`), by `kill` |

## Completion of loop names

Add one line to the start-up file of your shell; it completes verbs, options and loop names of `jupyter-loopat`, which
is the same program as `jupyter loopat`:

```sh
eval "$(_JUPYTER_LOOPAT_COMPLETE=bash_source jupyter-loopat)"            # ~/.bashrc
eval "$(_JUPYTER_LOOPAT_COMPLETE=zsh_source jupyter-loopat)"             # ~/.zshrc
_JUPYTER_LOOPAT_COMPLETE=fish_source jupyter-loopat | source             # ~/.config/fish/config.fish
```
"""


def reference() -> str:
    """The whole page."""
    group = click.Context(app, info_name=PROGRAM)
    verbs = []
    for name in VERBS:
        command = app.get_command(group, name)
        if command is not None:
            verbs += verb_sections(command, click.Context(command, info_name=name, parent=group))
    return "\n".join((_HEAD, *verbs))


def verb_sections(command: click.Command, context: click.Context) -> list[str]:
    """One verb, or all verbs of a group.

    Args:
        command: The verb.
        context: The context it is called in.
    """
    if not isinstance(command, click.Group):
        return [verb_section(command, context)]
    parts = [f"## {command.name}\n\n{inspect.cleandoc(command.help or '')}\n"]
    for name, verb in command.commands.items():
        inner = click.Context(verb, info_name=name, parent=context)
        parts.append(verb_section(verb, inner).replace("## ", f"### {command.name} ", 1))
    return parts


def verb_section(command: click.Command, context: click.Context) -> str:
    """One verb.

    Args:
        command: The verb.
        context: The context it is called in.
    """
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    parts = [f"## {command.name}\n", f"```\n{usage}\n```\n", f"{inspect.cleandoc(command.help or '')}\n"]
    rows = [
        f"| `{names.replace('|', chr(92) + '|')}` | {_RANGE.sub('', about)} |"
        for option in command.params
        if isinstance(option, click.Option) and (record := option.get_help_record(context))
        for names, about in [record]
    ]
    if rows:
        parts.append("\n".join(("| option | does |", "|---|---|", *rows)) + "\n")
    if command.epilog:
        _, _, lines = command.epilog.partition(":\n")
        parts.append(f"```sh\n{inspect.cleandoc(lines)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    click.echo(reference(), nl=False)
