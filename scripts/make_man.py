"""The made parts of docs/man/bootunion.1: commands, environment, exit statuses, refusals.

mdoc(7) out of click's own commands, so that a new command or option is in the page by itself.
`scripts/make_docs.py` calls this.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator

import click

from bootunion import codes
from bootunion.host.cli import cli

_PART = re.compile(r'(^\.\\" begin made: (\w+)\n).*?(^\.\\" end made: \2\n)', re.DOTALL | re.M)
_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z])")
_CODE = re.compile(r"`([^`]+)`")
_WORDS_OF_TEXT = re.compile(r"(?<!\w)--(?=\w)")


def page(text: str, statuses: Iterable[tuple[int, str]]) -> str:
    """The page with each made part made anew."""
    parts = {
        "commands": commands(),
        "environment": environment(),
        "statuses": "".join(f".It {status}\n{prose(_sentence(what))}\n"
                            for status, what in statuses),
        "codes": "".join(f".It Ql {name}\n{prose(code.cause)}\n{prose(code.way_out)}\n"
                         for name, code in codes.CODES.items()),
    }  # fmt: skip
    return _PART.sub(lambda found: found[1] + parts[found[2]] + found[3], text)


def leaves(
    command: click.Command = cli, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command that does something, with the words that call it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in sorted(command.list_commands(context)):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from leaves(inner, (*words, name))
    else:
        yield words, command


def commands() -> str:
    """A subsection for each command."""
    return "".join(_command(words, command) for words, command in leaves())


def environment() -> str:
    """Each variable that an option reads."""
    found: dict[str, set[str]] = {}
    for _, command in leaves():
        for option in _options(command):
            if isinstance(option.envvar, str):
                found.setdefault(option.envvar, set()).add(_longest(option))
    return "".join(
        f".It Ev {name}\nWhat {' or '.join(_flag(one) for one in sorted(options))} says.\n"
        for name, options in sorted(found.items())
    )


def prose(text: str) -> str:
    """Text as lines of mdoc: a sentence a line, `code` in bold, nothing taken for a macro."""
    lines = []
    for sentence in _SENTENCE.split(" ".join(text.split())):
        line = escaped(sentence)
        line = _CODE.sub(lambda found: rf"\fB{found[1]}\fP", line)
        lines.append(_WORDS_OF_TEXT.sub(r"\\-\\-", line))
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text that roff takes for text."""
    text = text.replace("\\", r"\e")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def _command(words: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(words))
    usage = [f".Nm bootunion {' '.join(words)}"]
    usage += [_synopsis(option) for option in _options(command) if option.required]
    usage += [".Op Ar option ..."]
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    usage += [f".Ar {escaped(one.make_metavar(context))}" for one in arguments]
    text = "\n".join([f".Ss bootunion {' '.join(words)}", *usage, ".Pp", *_help(command)])
    items = "".join(_item(option, context) for option in _options(command))
    return f"{text}\n.Bl -tag -width Ds\n{items}.El\n" if items else f"{text}\n"


def _help(command: click.Command) -> Iterator[str]:
    """The help text's paragraphs; what stands behind a \\b keeps its lines."""
    first = True
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        lines = block.strip("\n").split("\n")
        if lines[0].strip() != "\b":
            yield ("" if first else ".Pp\n") + prose(block)
        else:
            if not lines[1].startswith(" ") and lines[1].endswith(":"):
                yield ("" if first else ".Pp\n") + prose(lines[1])
                del lines[1]
            yield ".Bd -literal -offset indent"
            yield from (escaped(line).replace("--", r"\-\-") for line in lines[1:])
            yield ".Ed"
        first = False


def _item(option: click.Option, context: click.Context) -> str:
    names = " , ".join(name.removeprefix("-") for name in (*option.opts, *option.secondary_opts))
    head = f".It Fl {names}"
    if not option.is_flag:
        head += f" Ar {escaped(_metavar(option, context))}"
    text = prose(_sentence(option.help or ""))
    default = option.default
    if option.show_default and default is not None:
        # A default that is worked out is described by a text.
        shown = option.show_default if isinstance(option.show_default, str) else str(default)
        text += f"\nDefault: {escaped(shown)}."
    if option.required:
        text += "\nRequired."
    if option.multiple:
        text += "\nMay be given several times."
    return f"{head}\n{text.strip()}\n"


def _synopsis(option: click.Option) -> str:
    return f".{_flag(_longest(option), '')} Ar {_metavar(option, click.Context(cli))}"


def _metavar(option: click.Option, context: click.Context) -> str:
    return re.sub(r" RANGE$", "", option.make_metavar(context))


def _options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option) and not one.hidden]


def _longest(option: click.Option) -> str:
    return max(option.opts, key=len)


def _flag(name: str, escape: str = r"\fB") -> str:
    if not escape:
        return f"Fl {name.removeprefix('-')}"
    return rf"\fB{name.replace('-', chr(92) + '-')}\fP"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if not text or text.endswith((".", ")")) else f"{text}."
