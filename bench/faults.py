"""Faults: how many of those that were planned `health` finds in what was recorded, and what it cries for nothing.

Each kind of fault at three sizes, of which the least is the stated detection limit, in calm and fast motion, darkness
and with pauses, and as many clean episodes; all of them recorded by the way that any device's are. An alarm is counted
by (episode, stream, kind). The ratio is the least recall of any kind at its two larger sizes over 0.95, which is to be
reached; in the detail recall by kind and size, and precision over all, of which 0.9 is to be reached.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from faulty_episodes import SENSOR, STRIKES, cases, recorded
from measuring import Comparison, Options, main

import sensorium
from sensorium.corpus.episode import Episode
from sensorium.corpus.verifier import Verifier, verifier_of

VERIFIER = "health"
RECALL = 0.95
EACH = 20

Alarm = tuple[str, str]
"""A stream of the sensor, and a kind of fault."""


def alarms(verifier: Verifier, episode: Episode) -> set[Alarm]:
    """What it says is wrong: components `STREAM.KIND` at or over their limit, which is 1."""
    said = verifier.verify(episode).components
    found = set()
    for name, value in said.items():
        stream, _, kind = name.rpartition(".")
        if value >= 1:
            found.add((stream.removeprefix(f"{SENSOR}."), kind))
    return found


def tally(judged: Sequence[tuple[Mapping[str, Any], set[Alarm]]]) -> dict[str, Any]:
    """Recall by kind and size, precision over all, and what was cried for nothing, of labels and alarms."""
    asked: Counter[tuple[Alarm, int]] = Counter()
    hits: Counter[tuple[Alarm, int]] = Counter()
    wrong: Counter[str] = Counter()
    for labels, found in judged:
        true = (str(labels["stream"]), str(labels["fault"])) if "fault" in labels else None
        if true is not None:
            asked[true, int(labels["level"])] += 1
            hits[true, int(labels["level"])] += true in found
        for stream, kind in found - {true}:
            wrong[f"{stream}.{kind} in {'.'.join(true) if true else 'clean ' + str(labels['scene'])}"] += 1
    alarm_kinds = sorted({alarm for alarm, _ in asked})
    recall = {
        f"{stream}.{kind}": [round(hits[(stream, kind), level] / asked[(stream, kind), level], 3) for level in range(3)]
        for stream, kind in alarm_kinds
    }
    found_in_all = sum(hits.values()) + sum(wrong.values())
    return {
        "recall": recall,
        "least_recall": min(min(row[1:]) for row in recall.values()),
        "precision": round(sum(hits.values()) / found_in_all, 4) if found_in_all else 0.0,
        "wrong": dict(wrong.most_common()),
    }


def measure(options: Options) -> Comparison:
    """Record the episodes, `runs` of each kind and size, judge each, and count."""
    played = cases(1 if options.quick else options.runs, STRIKES[:1] if options.quick else STRIKES)
    store = sensorium.open(recorded(played, options.folder))
    verifier = verifier_of(VERIFIER)
    judged = [(episode.labels, alarms(verifier, episode)) for episode in store.query(order_by="start_ns")]
    if len(judged) != len(played):
        raise RuntimeError(f"{len(judged)} episodes in the store, {len(played)} were recorded")
    found = tally(judged)
    ours = float(found["least_recall"])
    detail = {"episodes": len(judged), "verifier": f"{verifier.name} {verifier.version}", **found}
    return Comparison("faults", ours, RECALL, round(ours / RECALL, 3), "recall", options.runs, detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=EACH)
