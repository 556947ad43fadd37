"""The tables of a catalog: light rows of episodes, and beside them what is asked for by its name."""

import sqlalchemy as sa

from sensorium.episode.documents import OUTCOME, PROPOSAL
from sensorium.episode.store_terms import COUNTS, HEALTH_FIELDS, SPEC
from sensorium.episode.where_times import NUMBER, TEXT, TIME

CATALOG_VERSION = 2

_NAMES = ("episode", "device", "spool_id", "identity", "mission", "domain", "origin", "clock", "reason", "digest")
_TIMES = ("start_utc", "end_utc", "committed_utc")
_TEXTS = (*_NAMES, *_TIMES, "licence", "consent", "source", "form", "kind", OUTCOME, "timeline", PROPOSAL)
_COUNTS = ("bytes", "streams", "rows", "captured", "stored", "filtered", "lost")
_INTEGERS = ("ordinal", "start_ns", "end_ns", *_COUNTS, "generation")
_REALS = ("priority", "duration_s", "interval_s", "worth")
COLUMNS: dict[str, str] = (
    dict.fromkeys(_TEXTS, TEXT) | dict.fromkeys((*_INTEGERS, *_REALS), NUMBER) | dict.fromkeys(_TIMES, TIME)
)
"""The columns that `where` and `order_by` know, and what they hold."""
INTEGERS = frozenset(_INTEGERS)

SUMMED = ("start_utc", "kind", "duration_s", "bytes", "rows")
"""What is most summed, and is in the indices by which it is found."""

META = sa.MetaData()
_DEFAULTS = {"form": "loose", "kind": "full"}
about = sa.Table("about", META, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
episodes = sa.Table(
    "episodes",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("episode", sa.Text, nullable=False, unique=True),
    sa.Column("layout", sa.Integer),
    *(sa.Column(name, sa.Text, server_default=_DEFAULTS.get(name)) for name in _TEXTS if name != "episode"),
    *(sa.Column(name, sa.Integer) for name in _INTEGERS),
    *(sa.Column(name, sa.REAL) for name in _REALS),
    sa.Column("crc", sa.Integer),
    # What most is summed by is in the index behind what it is found by, so that no row is looked at.
    sa.Index("episodes_device", "device", *SUMMED),
    sa.Index("episodes_device_mission", "device", "mission", "start_utc", "kind"),
    sa.Index("episodes_mission", "mission", *SUMMED),
    sa.Index("episodes_start", "start_utc"),
    sa.Index("episodes_committed", "committed_utc"),
    sa.Index("episodes_layout", "layout"),
    # Few are none, and the others cost nothing here.
    sa.Index("episodes_kind", "kind", "device", "start_utc", sqlite_where=sa.text("kind <> 'full'")),
    sa.Index("episodes_proposal", PROPOSAL, sqlite_where=sa.text(f"{PROPOSAL} IS NOT NULL")),
)
documents = sa.Table(
    "documents",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
layouts = sa.Table(
    "layouts",
    META,
    sa.Column("layout", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
)
"""What streams there are, each as its spec has it: thousands of episodes have the same."""
layout_streams = sa.Table(
    "layout_streams",
    META,
    sa.Column("layout", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Text if holds == TEXT else sa.REAL) for name, holds in SPEC.items()),
    sa.Index("layout_streams_name", "name"),
    sqlite_with_rowid=False,
)
scores = sa.Table(
    "scores",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.REAL, nullable=False),
    sa.Index("scores_value", "stream", "name", "value"),
    sqlite_with_rowid=False,
)
events = sa.Table(
    "events",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Index("events_name", "name"),
    sa.Index("events_kind", "kind"),
    sqlite_with_rowid=False,
)
labels = sa.Table(
    "labels",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary),  # text or number: no kind of column at all
    sa.Index("labels_value", "name", "value"),
    sqlite_with_rowid=False,
)
FIGURES = (*COUNTS, *HEALTH_FIELDS)
stream_figures = sa.Table(
    "stream_figures",
    META,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True),
    *(sa.Column(name, sa.Integer if name in COUNTS else sa.REAL) for name in FIGURES),
    sqlite_with_rowid=False,
)
"""What of a stream each episode has of its own; those of one stream lie together, to be gone through by themselves."""
previews = sa.Table(
    "previews",
    META,
    sa.Column("preview", sa.Text, primary_key=True),
    sa.Column("whole", sa.Text, nullable=False),
    sa.Column("whole_ordinal", sa.Integer, nullable=False),
    sa.Column("whole_bytes", sa.Integer, nullable=False),
    sa.Index("previews_whole", "whole"),
    sqlite_with_rowid=False,
)
"""Of which full episode of its spool each preview is. Stores of before there was such a table have no previews."""
ledger = sa.Table(
    "ledger",
    META,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("spool_id", sa.Text, primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("episode", sa.Text),
    sa.Column("reason", sa.Text),
    sqlite_with_rowid=False,
)
spools = sa.Table(
    "spools",
    META,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("spool_id", sa.Text, primary_key=True),
    sa.Column("oldest", sa.Integer, nullable=False),
    sa.Column("next_ordinal", sa.Integer, nullable=False),
)
between_totals = sa.Table(
    "between_totals",
    META,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("spool_id", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)

OF_RECORDS = (episodes, documents, layouts, layout_streams, scores, events, labels, stream_figures, ledger)
"""What the commit records are entered in, all of an episode at once."""
FORMER = ("streams",)
"""Tables that a catalog of version 1 has beside."""
