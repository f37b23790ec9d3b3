"""The `roofline` command: its verbs, and how every mistake ends in one line and exit status 2."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from roofline.cli import (
    advise,
    calibrate,
    compare,
    devices,
    export,
    formats,
    gap,
    headlines,
    lut,
    measure,
    migrate,
    models,
    output,
    runtimes,
    scale,
    search,
    sensitivity,
    serve,
    simulate,
    sweep,
    validate,
    witness,
)
from roofline.cli.options import number_formats_apart
from roofline.cli.options import words as names
from roofline.errors import InputError, RooflineError, line_of
from roofline.plugins import load_plugins

USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 1

app = typer.Typer(
    name="roofline",
    help="How long does a network take on a TPU or GPU, and why? Model x device x runtime -> a latency, explained.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
#: in the order of the help
VERBS = (
    simulate,
    advise,
    compare,
    gap,
    migrate,
    headlines,
    search,
    scale,
    sweep,
    lut,
    export,
    sensitivity,
    serve,
    devices,
    models,
    runtimes,
    formats,
    validate,
    witness,
    calibrate,
    measure,
)


class _Verb(TyperCommand):
    """A verb that refuses a second value of an option that takes one, instead of forgetting the first.

    ``--format`` of a verb that takes number formats too is told apart by its value.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(parameter.name == "format" for parameter in self.params):
            args = number_formats_apart(args)
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        options = [option for option in given if isinstance(option, TyperOption)]
        single = [option for option in options if not (option.multiple or option.is_flag)]
        for option in single:
            if single.count(option) > 1:
                raise InputError(f"{option.opts[0]} takes one value, and is given {single.count(option)} times")
        return super().parse_args(ctx, args)


PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="MODULE", help="A module that adds blocks, devices and more; repeatable."),
]


def _plugged(command: Callable[..., None]) -> Callable[..., None]:
    """Return a verb that takes ``--plugin`` too, and loads all plugins before anything is looked up."""

    def verb(*, plugin: list[str] | None = None, **options: Any) -> None:
        load_plugins(*names(plugin or []))
        command(**options)

    hints = get_type_hints(command, include_extras=True)
    own = signature(command).parameters.values()
    found = [p.replace(annotation=hints.get(p.name, p.annotation), kind=p.KEYWORD_ONLY) for p in own]
    found.append(Parameter("plugin", Parameter.KEYWORD_ONLY, default=None, annotation=PluginOption))
    verb.__doc__ = command.__doc__
    vars(verb).update(__signature__=Signature(found), __annotations__={p.name: p.annotation for p in found})
    return verb


for verb in VERBS:
    app.command(verb.__name__.rpartition(".")[2], cls=_Verb)(_plugged(verb.command))


def _version(wanted: bool) -> None:
    if wanted:
        from roofline.version import __version__

        print(f"roofline {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    plugin: PluginOption = None,
) -> None:
    load_plugins(*names(plugin or []))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 after one line on stderr about what was wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    _open_streams()
    try:
        try:
            with _told():
                return _run(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        _forget_output()
        return BROKEN_PIPE
    except OSError as error:
        _forget_output()
        where = "standard output" if error.filename is None else repr(str(error.filename))
        return _fail(f"cannot write to {where}: {error.strerror or error}")


def _run(words: list[str]) -> int:
    try:
        status = app(words, prog_name="roofline", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        message = error.format_message().removesuffix(".")
        return _fail(message[:1].lower() + message[1:])
    except RooflineError as error:
        return _fail(line_of(error))
    except MemoryError:
        return _fail("not enough memory")
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED


@contextmanager
def _told() -> Iterator[None]:
    """Say in a line what will end with a later version, once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("once", ".*ends with version", DeprecationWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if category is DeprecationWarning and "ends with version" in str(message):
                output.warn(str(message))
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _open_streams() -> None:
    """Give every standard stream a place: one that was closed must not become the first file that is opened.

    A closed output is one that cannot be written, so that a result that nobody gets is an error.
    """
    for number, name, mode in ((0, "stdin", os.O_WRONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            raw = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, raw)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?" instead of a traceback


def _forget_output() -> None:
    """Keep the interpreter from flushing once more, when it ends, what cannot be written."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    output.note(f"error: {message}")
    return USER_ERROR
