"""Rows of a table that cannot be read are lost where their stamps stand, in the middle as at the end."""

from pathlib import Path
from typing import Any

import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.episode.documents import Account, Open, Seal
from tests.agents.building import records_in

RATE_HZ = 100


def table(folder: Path, bad: range, *, other: bool) -> None:
    """6 s of rows; in those of `bad` (seconds) x is no number. Without `other` there is no second column."""
    rows = ["t,x,y"]
    for n in range(6 * RATE_HZ):
        x = "garbage" if n // RATE_HZ in bad else str(n)
        rows.append(f"{n / RATE_HZ:.2f},{x},{n if other else ''}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")


def collect(folder: Path, **parts: Any) -> dict[int, dict[str, Account]]:
    """The accounts of each episode by the second in which it begins, and under -1 what is in none."""
    streams = {name: {"channels": {name: name}} for name in ("x", "y")}
    sensor = {"kind": "replay-csv", "path": "table.csv", "time": {"column": "t"}, "pace": "fast", "streams": streams}
    document = {"device": "rig", "sensors": {"t": sensor}, "trigger": {"kind": "interval", "length_s": 1}, **parts}
    Agent(check_device(document, folder)).run()
    found = {}
    for path in (folder / "spool" / "episodes").iterdir():
        opening, *_, seal = [record.header for record in records_in(path)]
        assert isinstance(opening, Open)
        assert isinstance(seal, Seal)
        found[opening.start_ns // 10**9] = seal.account
    told = inspect_spool(folder / "spool")["between_totals"]
    return {**found, -1: {name: Account(stored=said["stored"], lost=said["lost"]) for name, said in told.items()}}


@pytest.mark.parametrize("second", [2, 5])
def test_what_is_lost_is_in_the_episode_whose_interval_holds_its_stamp(tmp_path: Path, second: int) -> None:
    table(tmp_path, range(second, second + 1), other=True)
    found = collect(tmp_path)
    lost = {at: accounts["t.x"].lost for at, accounts in found.items() if at >= 0}
    assert lost == {at: {"sensor": 100} if at == second else {} for at in range(6)}
    assert all(account.lost == {} for account in found[-1].values())


@pytest.mark.parametrize("second", [2, 5])
def test_where_there_is_no_episode_it_is_in_none(tmp_path: Path, second: int) -> None:
    table(tmp_path, range(second, second + 1), other=False)
    found = collect(tmp_path)
    assert sorted(found) == [-1, *(at for at in range(6) if at != second)]
    assert all(accounts["t.x"].lost == {} for at, accounts in found.items() if at >= 0)
    assert found[-1]["t.x"].lost == {"sensor": 100}


def test_a_filter_hands_on_where_a_loss_was(tmp_path: Path) -> None:
    table(tmp_path, range(5, 6), other=True)
    filters = {"t.x": [{"kind": "rate", "max_hz": 50}, {"kind": "lowpass", "cutoff_hz": 5, "into": "slow"}]}
    found = collect(tmp_path, filters=filters)
    assert found[5]["t.x"].lost == {"sensor": 100}
    assert sum(found[5]["slow"].lost.values()) > 0
    assert found[4]["t.x"].lost == found[4]["slow"].lost == {}


def test_a_stamp_that_cannot_be_right_moves_nothing_else(tmp_path: Path) -> None:
    """It is far behind all others; a trigger by events would wait for it."""
    rows = [f"{n / RATE_HZ:.2f},{n}" for n in range(300)]
    rows[150] = "999999,garbage"
    (tmp_path / "table.csv").write_text("t,x\n" + "\n".join(rows) + "\n")
    document = {"streams": {"x": {"channels": {"x": "x"}}}, "kind": "replay-csv", "path": "table.csv", "pace": "fast"}
    parts = {
        "sensors": {"t": {**document, "time": {"column": "t"}}},
        "trigger": {"kind": "expression", "when": "t.x.x >= 0", "pre_roll_s": 0, "post_roll_s": 0.5},
    }
    found = collect(tmp_path, **parts)
    (account,) = [accounts["t.x"] for at, accounts in found.items() if at >= 0]
    assert (account.stored, account.lost) == (299, {"sensor": 1})
