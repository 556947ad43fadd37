"""`sensorium approve`: a person lets a plan be carried out that a charter does not let planners have by themselves."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sensorium.agents.planning.approvals import approve as approve_plan
from sensorium.agents.planning.approvals import waiting_plans
from sensorium.agents.planning.log import PlanningLog
from sensorium.cli.screen import OUT, Format, print_rows
from sensorium.link.operators import read_pair


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("approve")(approve)


def approve(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store that planners work on.")],
    proposal: Annotated[
        str, typer.Argument(metavar="[PROPOSAL]", help="Its id, or how it begins; without it, what waits is shown.")
    ] = "",
    operator: Annotated[
        Path | None,
        typer.Option(
            "--operator", metavar="NAME.operator_secret", help="Who approves: one of the charter's approvers."
        ),
    ] = None,
    why: Annotated[str, typer.Option("--why", help="To be found in the log.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Approve a plan that waits for a person, in the name of an operator that the charter names under `approvers`, and
    that is not the one in whose name it is asked.

        sensorium approve STORE                                                 what waits
        sensorium approve STORE 0199f2 --operator KEYS/ben.operator_secret

    What is signed is the very plan, for the very device, which looks at the signature itself. A running
    `sensorium plan` asks for it then. What nobody approves in time (`plan --approval`, a day) has expired.
    """
    if operator is None:
        waiting = waiting_plans(PlanningLog(store).read().lines, time.time_ns())
        rows = [
            {
                "proposal": name,
                "planner": each.proposal.planner,
                "device": each.proposal.device,
                "plan": each.proposal.plan,
                "parameters": json.dumps(dict(each.proposal.parameters)),
                "why": each.proposal.rationale,
                "utc": each.utc,
                "until": each.until,
            }
            for name, each in waiting.items()
            if name.startswith(proposal)
        ]
        if not rows and not as_json:
            OUT.print("no plan waits for approval")
            return
        columns = ["proposal", "planner", "device", "plan", "parameters", "why", "utc", "until"]
        print_rows(rows, Format.JSON if as_json else Format.TABLE, columns)
        return
    line = approve_plan(store, proposal, read_pair(operator), why)
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(line), indent=2) + "\n")
    else:
        OUT.print(f"proposal {line.proposal}: approved by {line.by}")
