"""What goes into a report of a store: its stats, its hours, its best and its worst episodes."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sensorium.corpus.best_and_worst import Ranked, against
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.hours_covered import covering
from sensorium.corpus.report import Report, report_html
from sensorium.corpus.stats import stats
from sensorium.errors import ConfigError
from sensorium.perception.replacing import replace_file


def report_of(
    corpus: Corpus,
    where: str = "",
    clusters: int = 0,
    count: int = 5,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Of the full episodes for which `where` is true, with `count` of the best and of the worst.

    Raises:
        ConfigError: the condition is none.
    """
    found = stats(corpus, where, (), clusters, progress)
    only = f"({where}) and kind = 'full'" if where.strip() else "kind = 'full'"

    def records() -> Iterator[Mapping[str, Any]]:
        return corpus.each_record(only)

    faults = against(records())
    ids = list(itertools.islice(faults, count))
    worst = corpus.episodes(ids)
    best = (each.episode for each in found.distinct if each.episode.id not in faults)
    return Report(
        corpus.path.name,
        found,
        covering(records()),
        [Ranked(each) for each in itertools.islice(best, count)],
        [Ranked(worst[each], faults[each].said()) for each in ids if each in worst],
    )


def write_report(report: Report, path: Path) -> None:
    """Put it into an HTML file, whole or not at all.

    Raises:
        ConfigError: the file cannot be written, or its name does not end in .html.
    """
    if path.suffix != ".html":
        raise ConfigError(f"{path}: expected a name that ends in .html")
    replace_file(path, report_html(report).encode())
