"""Too dear: a unit that takes more than a budget of bytes ever holds at once is never kept, and that must be said."""

import math

from sensorium.agents.selection.budgets import SelectionBudget

_DAY_S, _MOST_BURST_S = 86_400, 86_400


def too_dear(budget: SelectionBudget, unit_bytes: int) -> str:
    """What is wrong where no unit that takes so much can be kept, and what to do; "" where one can, or where a budget
    of 0 says that none is to be.

    >>> too_dear(SelectionBudget(bytes_per_s=50_000), 7_000_000)[:50]
    'bytes_per_s adds up to 3 MB in burst_s 60, and a u'
    >>> too_dear(SelectionBudget(bytes_per_s=50_000, burst_s=140), 7_000_000)
    ''
    """
    per_day = budget.bytes_per_day
    limits = {"bytes_per_s": budget.bytes_per_s, "bytes_per_day": None if per_day is None else per_day / _DAY_S}
    for name, per_s in limits.items():
        if not per_s or per_s * budget.burst_s >= unit_bytes:
            continue
        needed_s = math.ceil(unit_bytes / per_s)
        ways = f"burst_s of at least {needed_s}" if needed_s <= _MOST_BURST_S else "a larger budget, or smaller units"
        holds = f"{name} adds up to {per_s * budget.burst_s / 1e6:.3g} MB in burst_s {budget.burst_s:g}"
        return f"{holds}, and a unit is expected to take {unit_bytes / 1e6:.3g} MB: none such is kept; {ways}"
    return ""
