"""The account of an episode, or of the samples in none, as a table."""

from collections.abc import Mapping
from typing import Any

from sensorium.cli.screen import counted, table
from sensorium.cli.text_table import TextTable


def account_table(title: str, accounts: Mapping[str, Mapping[str, Any]], start_ns: int) -> TextTable:
    """By stream; `start_ns` is what the places of estimated losses are counted from."""
    rows = [
        (name, each["captured"], each["stored"], counted(each["filtered"]), _lost(each, start_ns))
        for name, each in accounts.items()
    ]
    return table(title, ["name", "captured>", "stored>", "filtered", "lost"], rows)


def _lost(account: Mapping[str, Any], start_ns: int) -> str:
    """What was lost, and where from the start it was missed, if that is an estimate; of no rate, no count is known."""
    counts = counted(account["lost"])
    if not account.get("lost_interval_ns"):
        return counts
    first_s, last_s = ((at_ns - start_ns) / 1e9 for at_ns in account["lost_interval_ns"])
    where = f"{first_s:.1f} to {last_s:.1f} s" if last_s > first_s else f"after {first_s:.1f} s"
    return f"{counts or 'unknown'} (estimated, {where})"
