"""`sensorium`: one command with the others under it, and how errors leave it."""

import contextlib
import importlib
import logging
import os
import sys
import threading
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sensorium import __version__
from sensorium.cli.json_log import JsonLines, tell
from sensorium.cli.json_words import take_both
from sensorium.episode.plain import plain
from sensorium.errors import ConfigError, SensoriumError

MODULES = {
    "demo": "demo",
    "collect": "collect",
    "deliver": "deliver",
    "ingest": "ingest",
    "query": "store",
    "show": "store",
    "view": "view",
    "verify": "store",
    "ledger": "store",
    "why": "why",
    "stats": "stats",
    "report": "report",
    "similar": "similar",
    "policy": "policy",
    "estimate": "estimate",
    "verdicts": "verdicts",
    "label": "label",
    "delete": "delete",
    "hold": "delete",
    "sim": "sim",
    "rollouts": "rollouts",
    "rebuild-catalog": "store",
    "pack": "pack",
    "copy": "copy",
    "export": "export",
    "import": "bring",
    "spool": "spool",
    "devices": "devices",
    "schema": "schema",
    "directives": "directives",
    "campaign": "campaign",
    "fetch": "held",
    "release": "held",
    "fleet": "fleet",
    "mission": "mission",
    "mcp": "mcp",
    "plan": "plan",
    "approve": "approve",
    "kill": "kill",
    "keys": "keys",
}
"""Where each command is; its module is imported when it is asked for, as together they take a second."""


class LogFormat(StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


class _Commands(TyperGroup):
    """The commands by name, imported when needed. Each module's `register` adds its own to a Typer."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in MODULES:
            return None
        found = typer.Typer(rich_markup_mode="rich")
        found.callback()(lambda: None)  # or Typer makes a lone command the whole program
        importlib.import_module(f"sensorium.cli.{MODULES[cmd_name]}").register(found)
        take_both(found)
        group = typer.main.get_group(found)
        return group.get_command(ctx, cmd_name)


app = typer.Typer(
    name="sensorium",
    cls=_Commands,
    help="Collect what sensors perceive: record on the device, deliver whole, query as a Zarr corpus.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Begin with [bold]sensorium demo[/bold], then write a device file: [bold]sensorium devices --probe[/bold].",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sensorium {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what happens, and not only what is wrong.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="How log lines are written: as text, or as JSON objects.")
    ] = LogFormat.TEXT,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    text = OneLine("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else text)
    logging.basicConfig(level=level, handlers=[handler])


class OneLine(logging.Formatter):
    """A line of the log is one line, whatever text from outside it quotes.

    >>> OneLine("%(message)s").format(logging.makeLogRecord({"msg": "mission 'a\\x1b[2J\\nERROR forged'"}))
    "mission 'a\\\\x1b[2J\\\\nERROR forged'"
    """

    def format(self, record: logging.LogRecord) -> str:
        """As any formatter does; a traceback follows in lines of its own."""
        said = {**record.__dict__, "msg": plain(record.getMessage()), "args": None}
        return super().format(logging.makeLogRecord(said))


def main() -> None:
    """Run the command line; errors become one line each, exit 1 (failed) or 2 (wrong use)."""
    status = _status()
    if threading.active_count() > 1:  # one that hangs, ours or a driver's, and so may the interpreter's own end
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def _status() -> int:
    """Run the command; its exit status."""
    debug = "--debug" in sys.argv
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except SensoriumError as error:
        if debug:
            raise
        for line in str(error).splitlines():
            tell(plain(line), logging.ERROR, "sensorium: ")
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        if debug:
            raise
        said = f"internal error: {type(error).__name__}: {plain(str(error))}; run with --debug for the trace"
        tell(said, logging.ERROR, "sensorium: ")
        return 1
    return 0
