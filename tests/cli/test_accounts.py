"""An account as a table: an estimated loss says where it was missed."""

import io

import pytest
from rich.console import Console

from sensorium.cli.accounts import account_table

S = 1_000_000_000


@pytest.mark.parametrize(
    ("lost", "interval_ns", "said"),
    [
        ({"away": 40}, [14 * S, 16 * S], "away 40 (estimated, 4.0 to 6.0 s)"),
        ({}, [14 * S, 16 * S], "unknown (estimated, 4.0 to 6.0 s)"),
        ({}, [14 * S, 14 * S], "unknown (estimated, after 4.0 s)"),
        ({"late": 2}, None, "late 2"),
    ],
)
def test_where_a_loss_is(lost: dict[str, int], interval_ns: list[int] | None, said: str) -> None:
    account = {"captured": 50, "stored": 10, "filtered": {}, "lost": lost, "lost_interval_ns": interval_ns}
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(account_table("episode", {"imu": account}, 10 * S))
    assert said in console.export_text()
