"""Episodes found by a label that was said beside them: 100,000 labels on 20,000 episodes, one in fifty of the value.

`against` has every label in memory, read from the files beside the episodes, goes through all of them once for those
that count, and asks the catalog for the episodes by their ids. Both are CPU time of this process, from the condition's
text, or the labels, to the episodes; to read the files is not in it (`reading_ms`). In `detail`: what it takes to say
the labels as lines of JSON, one by one durably, and how many of two writers' were lost.
"""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from catalog import records
from measuring import Comparison, Options, compared, main

import sensorium
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.label_lines import import_labels
from sensorium.ingest.store import Store

EPISODES, LABELS_EACH = 20_000, 5
WHERE = "label('task') = 'pick'"
WRITER = """
import sys, time
import sensorium
corpus = sensorium.open(sys.argv[1])
episodes = [each.id for each in corpus.query(limit=200)]
with corpus.label_book(sys.argv[2]) as book:
    print("ready", flush=True)
    sys.stdin.readline()
    begun_s = time.monotonic()
    for number in range(int(sys.argv[3])):
        book.label(episodes[number % len(episodes)], {"n": number})
        time.sleep(max(0.0, begun_s + (number + 1) / 200 - time.monotonic()))
    print(time.monotonic() - begun_s, flush=True)
"""


def run(options: Options) -> Comparison:
    """The store, the labels, and the questions in turn."""
    episodes = EPISODES // 20 if options.quick else EPISODES
    path = options.folder / "labels"
    with Store.open(path) as store:
        made = records(episodes)
        while some := list(itertools.islice(made, 500)):
            store.catalog.add(some)
    corpus = sensorium.open(path)
    ids = [row["episode"] for row in corpus.rows(columns=["episode"])]
    begun_s = time.process_time()
    import_labels(corpus, (json.dumps(each) for each in _labels(ids)), who="ada")
    entering_s = time.process_time() - begun_s
    ours, against = [], []
    found = len(corpus.query(WHERE))
    begun_s = time.process_time()
    said = _said(corpus)
    reading_ms = (time.process_time() - begun_s) * 1e3
    for _ in range(options.runs * 5):
        ours.append(_asked_ms(path, found))
        against.append(_looked_at_ms(path, said, found))
    detail: dict[str, Any] = {
        "labels": len(ids) * LABELS_EACH,
        "episodes": len(ids),
        "found": found,
        "entering_cpu_s": round(entering_s, 2),
        "reading_ms": round(reading_ms, 1),
        "worst_ms": round(max(ours), 2),
        "two_writers": _two_writers(corpus, 100 if options.quick else 1000),
    }
    return compared("labels", ours, against, "ms of CPU", more_is_better=False, detail=detail)


def _labels(ids: list[str]) -> list[dict[str, Any]]:
    tasks = ["pick", *(f"task {number}" for number in range(49))]
    found: list[dict[str, Any]] = []
    for number, episode in enumerate(ids):
        found.append({"episode": episode, "name": "task", "value": tasks[number % len(tasks)]})
        found += [{"episode": episode, "name": f"score {each}", "value": number % 7} for each in range(LABELS_EACH - 1)]
    return found


def _asked_ms(path: Path, found: int) -> float:
    corpus = sensorium.open(path)
    begun_s = time.process_time()
    assert len(corpus.query(WHERE)) == found
    return (time.process_time() - begun_s) * 1e3


def _looked_at_ms(path: Path, said: list[dict[str, Any]], found: int) -> float:
    """The same, of labels in memory: the newest of each episode that no other supersedes."""
    corpus = sensorium.open(path)
    begun_s = time.process_time()
    superseded = {each.get("supersedes") for each in said}
    newest: dict[str, dict[str, Any]] = {}
    for each in said:
        if each["name"] == "task" and each["id"] not in superseded:
            former = newest.get(each["episode"])
            if former is None or former["utc"] <= each["utc"]:
                newest[each["episode"]] = each
    ids = [episode for episode, each in newest.items() if each["value"] == "pick"]
    assert len(corpus.episodes(ids)) == found
    return (time.process_time() - begun_s) * 1e3


def _two_writers(corpus: Corpus, count: int) -> dict[str, Any]:
    """Two processes that say 200 labels a second each, or as many as they can, beside an ingest that has the store."""
    before = len(_said(corpus))
    with Store.open(corpus.path):
        command = [sys.executable, "-c", WRITER, str(corpus.path)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        those = [subprocess.Popen([*command, who, str(count)], **pipes) for who in ("eve", "bob")]
        for each in those:
            assert each.stdout is not None
            each.stdout.readline()
        for each in those:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        took_s = [float(each.communicate()[0]) for each in those]
    return {
        "said": 2 * count,
        "lost": before + 2 * count - len(_said(corpus)),
        "a_second_each": [round(count / each) for each in took_s],
    }


def _said(corpus: Corpus) -> list[dict[str, Any]]:
    """All labels that were said, as the files have them."""
    files = (corpus.path / "beside/labels").glob("*.jsonl")
    return [json.loads(line)["record"] for file in files for line in file.read_text().splitlines()]


if __name__ == "__main__":
    main(__doc__ or "", run, runs=3)
