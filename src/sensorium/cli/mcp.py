"""`sensorium mcp`: a store as an MCP server, which a model asks, and may propose to where that is granted."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sensorium import __version__
from sensorium.agents.charter import read_charter
from sensorium.agents.planning.log import PlanningLog
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.rules import PlanRules
from sensorium.cli.store import StorePath
from sensorium.corpus.fleet import reports
from sensorium.errors import ConfigError

HTTP_PORT = 7711


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp")(serve)


def serve(
    store: StorePath,
    http: Annotated[
        str, typer.Option("--http", metavar="HOST:PORT", help="Serve HTTP on loopback, and not the standard streams.")
    ] = "",
    token: Annotated[
        Path | None, typer.Option(help="File with the token that HTTP asks for; made where there is none.")
    ] = None,
    charter: Annotated[Path | None, typer.Option(help="The charter by which proposals are judged.")] = None,
    may_propose: Annotated[
        bool, typer.Option("--may-propose", help="Grant proposing, which --charter judges. Nothing grants approving.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.001, help="How long what a plan causes is to be, as of plan.")
    ] = None,
) -> None:
    """Serve a store to a model, by the Model Context Protocol: coverage gaps, episodes, previews and windows as
    pictures, why something was kept or dropped, budgets, proposals; cards as resources. Each call is a line of the
    planning log. It reads, and nothing else, unless --may-propose.

    sensorium mcp corpus                                               # on the standard streams, as clients start it

    sensorium mcp corpus --http 127.0.0.1:7711 --token mcp.token       # prints `ready http://127.0.0.1:7711/mcp`

    Over HTTP a client sends Authorization: Bearer TOKEN. Needs the extra `mcp`.
    """
    if may_propose and charter is None:
        raise ConfigError("--may-propose: give --charter C.yaml, by which what is proposed is judged")
    if token is not None and not http:
        raise ConfigError("--token: give --http HOST:PORT; on the standard streams nobody else can ask")
    address = _address(http) if http else None
    if address is not None and token is None:
        raise ConfigError("--http: give --token FILE; where there is none it is made")
    try:
        from sensorium.agents.planning.mcp.http import serve_http, token_in
        from sensorium.agents.planning.mcp.server import context_server
    except ModuleNotFoundError as error:
        raise ConfigError(f"mcp needs {error.name}, which is not installed: pip install 'sensorium[mcp]'") from error
    from sensorium.agents.planning.mcp.answers import StoreAnswers
    from sensorium.agents.planning.mcp.proposing import Proposing

    limits = read_charter(charter).plans.model_dump(mode="json") if charter is not None else None
    answers = StoreAnswers(store, keep=may_propose, limits=limits)
    proposing = Proposing(store, refuses_by(store, charter, seconds)) if may_propose and charter is not None else None
    server = context_server(answers, proposing, __version__)
    if address is None or token is None:
        try:
            server.run("stdio")
        except* BrokenPipeError:  # the client has gone, and nobody reads the answer
            sys.stdout = None
    else:
        serve_http(server, *address, token_in(token), lambda url: typer.echo(f"ready {url}"))


def _address(said: str) -> tuple[str, int]:
    """
    >>> _address("127.0.0.1:7711"), _address("[::1]:0"), _address("localhost")
    (('127.0.0.1', 7711), ('::1', 0), ('localhost', 7711))
    """
    host, colon, port = said.rpartition(":") if not said.endswith("]") else (said, "", "")
    host, port = (host, port) if colon else (said, str(HTTP_PORT))
    if not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"--http {said}: expected HOST:PORT, as 127.0.0.1:{HTTP_PORT}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def refuses_by(store: Path, charter: Path, seconds: float | None) -> Callable[[Proposal], str]:
    """Which rule of the charter is against a proposal, as the charter, the devices, and what was asked of them within
    its budgets, are when it is made."""

    def refuses(proposal: Proposal) -> str:
        rules = PlanRules(read_charter(charter), seconds)
        rules.heard(reports(store))
        rules.remember(PlanningLog(store).read().lines)
        return rules.refuses(rules.placed(proposal, frozenset()))

    return refuses
