"""In words: what the trigger `worth` judges and may spend, a line each, for whoever checks a device file."""

import math
from collections.abc import Collection, Mapping, Sequence

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.triggers.raw_room import RawRoom
from sensorium.agents.uplink.budget import amount

OF_FILES = "of the sealed spool files of full episodes, not of what the store makes of them"


def judged(streams: Sequence[str], judged: Sequence[str], weights: Mapping[str, float]) -> str:
    """Which streams decide, with their weights, and which share the fate of their time.

    >>> judged(["cam", "imu", "gps"], ["cam", "imu"], {"cam": 2.0, "imu": 1.0})
    'judged: cam (weight 2), imu (weight 1); kept or dropped with them: gps'
    """
    said = [f"{name} (weight {weights[name]:g})" if name in weights else name for name in judged]
    others = [name for name in streams if name not in judged]
    return f"judged: {', '.join(said)}" + (f"; kept or dropped with them: {', '.join(others)}" if others else "")


def scores(stream: str, known: Collection[str] | None) -> str:
    """Which scores conditions may name.

    >>> scores("imu", {"stuck", "jitter"}), scores("imu", None)
    ('scores of imu: jitter, stuck', 'scores of imu: known once there are any, as a filter does not say')
    """
    said = "known once there are any, as a filter does not say" if known is None else ", ".join(sorted(known))
    return f"scores of {stream}: {said or 'none'}"


def waiting(room: RawRoom, pre_roll_s: float, post_roll_s: float, most: int) -> str:
    """How long units and rolls are, and whether what waits raw for them fits.

    >>> waiting(RawRoom(1e6, 1.0, 4.0, 8.0), 2, 1, 10_000_000)
    'units of 1 s, pre-roll 2 s, post-roll 1 s: up to 4 MB wait raw, of 10 MB that may; a pre-roll of 8 s would fit'
    """
    lengths = f"units of {room.unit_s:.3g} s, pre-roll {pre_roll_s:g} s, post-roll {post_roll_s:g} s"
    if not room.per_s:
        return f"{lengths}: how much waits raw is not known, as no stream says its rate; {amount(_rounded(most))} may"
    needed = f"up to {amount(_rounded(room.needed_bytes))} wait raw, of {amount(_rounded(most))} that may"
    possible = f"a pre-roll of {math.floor(room.fits_s):d} s would fit" if room.fits_s >= 1 else "no more would fit"
    fits = possible if room.needed_bytes <= most else "it does not fit, see below"
    return f"{lengths}: {needed}; {fits}"


def budget(budget: SelectionBudget) -> str:
    """What is kept at most, how much of it at once, and of which bytes it speaks.

    >>> budget(SelectionBudget(share=0.05, floor=0.1))
    'budget: 5% of captured time, rolls included (3 s at once); 10% of it is for chance'
    """
    said = []
    if budget.share is not None:
        at_once = f"{budget.share * budget.burst_s:g} s at once"
        said.append(f"{budget.share * 100:g}% of captured time, rolls included ({at_once})")
    limits = ((budget.bytes_per_s, 1, "second"), (budget.bytes_per_day, 86_400, "day"))
    sizes = [
        f"{amount(_rounded(most))} a {length} ({amount(_rounded(most * budget.burst_s / seconds))} at once)"
        for most, seconds, length in limits
        if most is not None
    ]
    if sizes:
        said.append(f"{' and '.join(sizes)} {OF_FILES}")
    return f"budget: {' and '.join(said)}; {budget.floor * 100:g}% of it is for chance"


def trace(bytes_per_s: float) -> str:
    """What may be spent to remember what was not kept."""
    if not bytes_per_s:
        return "trace: none, so that nobody can say later what was dropped and why"
    return f"trace: {amount(_rounded(bytes_per_s))} a second of the sealed spool files of traces, beside the budget"


def _rounded(size: float) -> int:
    """To three digits."""
    return round(float(f"{size:.3g}"))
