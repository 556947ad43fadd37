"""`sensorium campaign`: have devices look for something, see what they have found, and what it would cost before."""

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.agents.device_text import read_text
from sensorium.agents.selection.campaign import SelectionCampaign
from sensorium.agents.selection.logs import traced_logs
from sensorium.agents.selection.unpaid import Unpaid, unpaid
from sensorium.cli.directives import Devices, Key, Life, Store, Unknown, life_s_of, say_namesakes
from sensorium.cli.screen import OUT, Form, Format, print_rows, size
from sensorium.corpus.campaigns import CampaignOnDevice, campaigns, found_by, unasked
from sensorium.corpus.commits import check_store_version
from sensorium.corpus.corpus import open_store
from sensorium.corpus.directives import issue
from sensorium.corpus.fleet import named_devices
from sensorium.episode.utc_text import utc_ns_of, utc_text
from sensorium.errors import ConfigError
from sensorium.link.operators import read_pair

app = typer.Typer(
    no_args_is_help=True,
    help="""Have devices look for something for a while: a condition, with a budget of its own.

    name: dock                                                         # a file dock.yaml
    where: "front.sharpness > 40 and imu.gyro > 0.5"
    budget: {share: 0.02}
    pre_roll_s: 2
    post_roll_s: 3
    until: 2026-12-24T18:00Z
    shadow: true                                                       # count what it would keep, keep nothing

    sensorium campaign apply STORE dock.yaml 'rig-*' --operator KEYS/anna.operator_secret
    sensorium campaign show STORE dock""",
)
_TIMES = {"from": "from_ns", "until": "until_ns"}


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="campaign")


@app.command()
def apply(
    store: Store,
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="The campaign; see `sensorium campaign --help`.")],
    devices: Devices,
    operator: Key,
    expires: Life = "7d",
    unknown: Unknown = False,
) -> None:
    """Have a campaign run on devices, in place of what ran there by its name. Each takes it or refuses it by itself:
    one that lacks a stream does not keep the others from it."""
    body = campaign_body(file)
    life_s, pair = life_s_of(expires), read_pair(operator)
    _check_times(file, body, life_s)
    check_store_version(store)
    names = named_devices(store, devices, unknown=unknown)
    for document in issue(store, names, "campaign", body, pair, life_s=life_s):
        OUT.print(f"{document.device}: campaign {body['name']} {document.id} (version {document.version})")
    say_namesakes(store, names)


@app.command()
def stop(
    store: Store,
    name: Annotated[str, typer.Argument(help="What the campaign is called.")],
    operator: Key,
    devices: Annotated[
        list[str] | None, typer.Argument(metavar="DEVICE...", help="Only of these; else of all that were asked.")
    ] = None,
    expires: Life = "7d",
) -> None:
    """End a campaign."""
    life_s, pair = life_s_of(expires), read_pair(operator)
    check_store_version(store)
    asked = list(dict.fromkeys(each.device for each in campaigns(store) if each.name == name))
    if not asked and not devices:
        raise ConfigError(
            f"{store}: no device was asked for a campaign {name!r}; `sensorium campaign list` has them; one that a"
            " device has brought from another store is stopped by the device's name"
        )
    body = {"name": name, "stop": True}
    names = named_devices(store, devices) if devices else asked
    for document in issue(store, names, "campaign", body, pair, life_s=life_s):
        OUT.print(f"{document.device}: stop campaign {name} {document.id} (version {document.version})")
    say_namesakes(store, names)


@app.command("list")
def list_(store: Store, form: Form = Format.TABLE) -> None:
    """Show the campaigns that devices were asked for, and how each stands there."""
    check_store_version(store)
    rows = [_row(each) for each in campaigns(store)]
    if not rows and form is Format.TABLE:
        OUT.print("no device was asked for a campaign")
        return
    several = len({(row["campaign"], row["device"]) for row in rows}) < len(rows)
    print_rows(rows, form, ["campaign", "device", *["spool"] * several, "state", "why", "shadow", "until_utc", "where"])


@app.command()
def show(
    store: Store,
    name: Annotated[str, typer.Argument(help="What the campaign is called.")],
    form: Form = Format.TABLE,
) -> None:
    """Show what a campaign has found, by device: of what the traces tell how often it was true, for how long, and what
    those units take, shadow or not; of a shadow what it would keep, within its budget and with what it keeps around;
    and the episodes that carry its name: in the store, and held on the device. `own`: it is in the device's file;
    `elsewhere`: the device has brought it from another store."""
    check_store_version(store)
    every = [each for each in campaigns(store) if each.name == name]
    states = {each.device: _row(each) for each in reversed(every)} | _namesakes(every)
    found = found_by(store, name)
    if not states and not found:
        raise ConfigError(f"{store}: no device was asked for a campaign {name!r}; `sensorium campaign list` has them")
    for device, kept in _unpaid(store, name).items():
        found.setdefault(device, {}).update(keep_s=kept.keep_s, keep_bytes=kept.keep_bytes)
    states |= {each.device: _row(each) for each in unasked(store, name, found.keys() - states.keys())}
    rows = [{**each, **found.get(device, {})} for device, each in sorted(states.items())]
    if form is Format.JSON:
        sys.stdout.write(json.dumps(rows, indent=2, default=str) + "\n")
        return
    told = [row | _in_words(row) for row in rows]
    columns = ["device", "state", "why", "true_s>", "times>", "would take>"]
    columns += ["would keep>"] * any("keep_s" in row for row in rows)
    print_rows(told, form, [*columns, "episodes>", "kept>", "held>", "judged_s>"], f"campaign {name}")


def _in_words(row: dict[str, Any]) -> dict[str, str]:
    """What a table says; `~` of what is not exact, as rows of the trace stand for several units."""
    unsure_s = row.get("unsure_s")
    about = "~" if unsure_s else ""
    found = {"would take": about + size(row.get("true_bytes", 0)), "kept": size(row.get("bytes", 0))}
    if unsure_s:
        found["true_s"] = f"{row['true_s']:g} ± {unsure_s:g}"
        found["times"] = f"~{row['times']}"
    if "keep_s" in row:
        found["would keep"] = f"{about}{row['keep_s']:g} s, {size(row['keep_bytes'])}"
    if "held" in row:
        found["held"] = f"{row['held']}, {size(row['held_bytes'])}"
    return found


def _unpaid(store: Path, name: str) -> dict[str, Unpaid]:
    """By device what it would keep where it is a shadow."""
    found: dict[str, Unpaid] = {}
    for log in traced_logs(open_store(store), left_out=lambda *_: None):
        if (of := unpaid(log, name)) is not None:
            before = found.get(log.traced[0].device, Unpaid())
            found[log.traced[0].device] = Unpaid(before.keep_s + of.keep_s, before.keep_bytes + of.keep_bytes)
    return found


def campaign_body(file: Path) -> dict[str, Any]:
    """What a directive says of the campaign in a file.

    Raises:
        ConfigError: it is none; a line for each mistake.
    """
    said = read_text(file, "campaign").document
    if not isinstance(said, dict) or not isinstance(said.get("name"), str):
        raise ConfigError(f"campaign {file}: expected a mapping with `name`, `where` and `budget`")
    rules = {key: value for key, value in said.items() if key not in ("name", "mission", *_TIMES)}
    if "mission" in said:
        raise ConfigError(f"campaign {file}: mission: a condition may ask for it; a device knows its own")
    try:
        SelectionCampaign.model_validate({**rules, "name": said["name"]})
    except ValueError as error:
        raise ConfigError("\n".join(f"campaign {file}: {line}" for line in _mistakes(error))) from error
    times = {into: _utc_ns(file, key, said[key]) for key, into in _TIMES.items() if said.get(key) is not None}
    return {"name": said["name"], "rules": rules, **times}


def _check_times(file: Path, body: dict[str, Any], life_s: float) -> None:
    """Raise `ConfigError` where a campaign could never run."""
    now_ns = time.time_ns()
    begin_ns, until_ns = body.get("from_ns", now_ns), body.get("until_ns")
    if until_ns is not None and until_ns <= max(begin_ns, now_ns):
        than = f"`from`, {utc_text(begin_ns)}" if begin_ns > now_ns else f"now, {utc_text(now_ns)}"
        raise ConfigError(f"campaign {file}: until: expected later than {than}, got {utc_text(until_ns)}")
    if begin_ns > now_ns + life_s * 1e9:
        days = math.ceil((begin_ns - now_ns) / 86_400e9) + 1
        raise ConfigError(
            f"campaign {file}: from: {utc_text(begin_ns)} is later than the directive expires; give --expires {days}d, "
            "or apply it later"
        )


def _mistakes(error: ValueError) -> Iterator[str]:
    for each in getattr(error, "errors", list)():
        yield f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"


def _utc_ns(file: Path, key: str, said: object) -> int:
    try:
        return utc_ns_of(said.isoformat() if hasattr(said, "isoformat") else str(said))
    except ValueError as error:
        raise ConfigError(f"campaign {file}: {key}: expected a time such as 2026-12-24T18:00Z, got {said!r}") from error


def _namesakes(every: Sequence[CampaignOnDevice]) -> dict[str, dict[str, Any]]:
    """By name, of devices that share one, how it stands on each of them."""
    found: dict[str, dict[str, Any]] = {}
    for name, n in Counter(each.device for each in every).items():
        mine = [each for each in every if each.device == name]
        if n > 1:
            said = "; ".join(f"spool {each.spool}: {each.state} {each.why}".strip() for each in mine)
            states = dict.fromkeys(each.state for each in mine)
            found[name] = _row(mine[0]) | {"state": ", ".join(states), "why": said}
    return found


def _row(each: CampaignOnDevice) -> dict[str, Any]:
    return {"campaign": each.name, **each._asdict()}
