"""An episode is taken out of the catalog: its rows, and all that is found by its number; the ledger says it is gone."""

import json
from collections.abc import Sequence

import sqlalchemy as sa

from sensorium.corpus.deletions import HOLDS, Tombstone

OF_EPISODE = ("documents", "scores", "events", "labels", "stream_figures")
_LEDGER = (
    "INSERT INTO ledger (device, spool_id, ordinal, state, episode, reason) VALUES (?, ?, ?, 'deleted', ?, ?)"
    " ON CONFLICT (device, spool_id, ordinal) DO UPDATE SET state = 'deleted', episode = excluded.episode,"
    " reason = excluded.reason"
)


def bury(connection: sa.Connection, those: Sequence[Tombstone]) -> None:
    """Take out these episodes, in the transaction that the connection is in."""
    ids = json.dumps([each.episode for each in those])
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    mine = "SELECT id FROM episodes WHERE episode IN (SELECT value FROM json_each(?))"
    there = set(sa.inspect(connection).get_table_names())
    for table in OF_EPISODE:
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE id IN ({mine})", (ids,))
    connection.exec_driver_sql("DELETE FROM episodes WHERE episode IN (SELECT value FROM json_each(?))", (ids,))
    for table, column in (("beside", "episode"), ("label_stands", "episode"), ("previews", "preview")):
        if table in there:
            text = f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))"
            if table == "beside":  # a hold counts while grace lasts; it goes with its line
                text += f" AND kind != '{HOLDS}'"
            connection.exec_driver_sql(text, (ids,))
    for each in those:
        values = each.device, each.spool_id, each.ordinal, each.episode, "deleted"
        connection.exec_driver_sql(_LEDGER, values)
