"""What was deleted, as operators and devices meet it: nothing made of it is left, who offers it again is told."""

import shutil
from pathlib import Path

import numpy as np

import sensorium
from sensorium.corpus.sketches import SKETCHES, Sketches
from sensorium.corpus.vectors import read_arrays, read_parts
from sensorium.episode.look_note import looks_noted
from tests.spine.commands import Site, sim, wait_for


def outside(store: Path, needle: bytes) -> list[str]:
    """The files that hold some bytes, as a search from outside finds them."""
    assert len(needle) >= 16
    return sorted(str(f.relative_to(store)) for f in store.rglob("*") if f.is_file() and needle in f.read_bytes())


def test_a_device_that_offers_it_again_is_told_and_keeps_it_aside(site: Site) -> None:
    ingest, port = site.ingest()
    device = site.device("rig-1", {"sim": sim(duration_s=2.0)})
    site.run("collect", device, "--local")
    shutil.copytree(site.folder / "spool-rig-1", site.folder / "of-before")
    device = site.device("rig-1", {"sim": sim(duration_s=2.0)}, port)
    site.run("deliver", device)
    gone, other = (each["episode"] for each in site.json("query", "store", "--order-by", "start_ns"))
    site.run("delete", "store", gone, "--reason", "asked for by the tenant")
    site.run("keys", "new", "anna", "--operator", "--dir", ".")
    fetch = ("fetch", "store", "--operator", "anna.operator_secret", "--episode")
    site.refused(*fetch, gone[:20], expect=2, says=(f"episode {gone} was deleted",))
    site.refused(*fetch, other, expect=2, says=("no preview is of an episode",))
    shutil.rmtree(site.folder / "spool-rig-1")
    (site.folder / "of-before").rename(site.folder / "spool-rig-1")
    told = site.run("deliver", device, expect=1)
    assert f"episode {gone}" in told.err
    assert "(deleted): this episode was deleted from the store" in told.err
    spool = site.json("spool", "spool-rig-1")
    assert [(each["episode"], each["why"]) for each in spool["episodes"]] == [
        (gone, "rejected (deleted): this episode was deleted from the store")
    ]
    assert [each["episode"] for each in site.json("query", "store")] == [other]
    (ledger,) = site.json("ledger", "store")
    assert (ledger["committed"], ledger["deleted"], ledger["pending"]) == (1, 1, 0)
    site.run("spool", "spool-rig-1", "discard", gone)
    assert not [each for each in (site.folder / "spool-rig-1").rglob("*") if gone in each.name and each.is_file()]
    ingest.interrupt()


def test_nothing_that_was_made_of_it_is_left(site: Site) -> None:
    """Previews, traces, vectors, labels and sketches, beside an ingest that holds the latter in memory."""
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    ingest, port = site.ingest("--memory", "keys/anna.operator_secret")
    worth = {"kind": "worth", "streams": {"sim.cam": 1}, "budget": {"share": 0.5, "burst_s": 40}}
    parts = {
        "trigger": worth,
        "previews": {"hold": False},
        "encodings": {"sim.cam": {"codec": "jpeg", "quality": 90}},
        "obey": {"operator": "keys/anna.operator", "may": ["sketch"]},
    }
    site.run(
        "collect",
        site.device("rig-1", {"sim": sim(duration_s=20.0, walk={}, pixel_noise=2.0)}, port, **parts),
        "--local",
    )
    store = site.folder / "store"
    corpus = sensorium.open(store)
    first = corpus.query(order_by="start_ns")[0]
    previews = site.json("query", "store", "--where", "kind = 'preview'")
    (preview,) = [corpus.episode(each["episode"]) for each in previews if each["preview_of"] == first.id]
    site.run("label", "store", first.id, "said=a secret that is told", "--who", "ann")
    site.run("similar", "store")
    wait_for(lambda: Sketches(store).covers, "a sketch that is saved", timeout_s=60)
    looks = looks_noted(first.attributes["notes"])
    look = np.frombuffer(looks[0].vector, np.int8).astype(np.int64)
    rows = next(iter(Sketches(store).covers.values())).sketch.rows
    (part,) = [each for each in read_parts(store) if not isinstance(each[1], str)]
    path, about = part
    assert not isinstance(about, str)
    arrays = read_arrays(path, about)
    assert not isinstance(arrays, str)
    number = [name for name, _ in about.streams].index(first.id)
    vector = arrays.vectors[np.flatnonzero(arrays.windows[:, 0] == number)[0]].tobytes()
    needles = {
        "a picture": first.streams["sim.cam"].item(0)[-200:],
        "rows": first.streams["sim.imu"][3].tobytes(),
        "the preview's picture": preview.streams["sim.cam"].item(0)[-200:],
        "the descriptor": vector,
        "a look": rows[(rows[:, :-1].astype(np.int64) @ look).argmax()].tobytes(),
        "the label": b"a secret that is told",
    }
    found = {what: outside(store, each) for what, each in needles.items()}
    assert not [what for what in found if not found[what] and what != "rows"], "or the search proves nothing"
    sketch = [each.name for each in (store / SKETCHES).iterdir()]
    ends = {of.by: len(cover.sketch) for of, cover in Sketches(store).covers.items()}
    traces = [each.id for each in corpus.query("kind = 'trace'")]
    site.refused("delete", "store", first.id, "--reason", "r", expect=2, says=("--with-traces",))
    gone = site.json("delete", "store", first.id, "--reason", "asked for", "--with-traces")
    assert {first.id, preview.id} <= {each["episode"] for each in gone}
    assert [each["found"] for each in gone] == [[]] * len(gone)
    for what, each in needles.items():
        assert outside(store, each) == [], what
    for each in (first.id, preview.id):
        month = first.row["committed_utc"][:7]
        kept = ["catalog.sqlite", f"commits/{month}/{each}.deleted", "deletions/certificates.jsonl"]
        assert outside(store, each.encode()) == kept
    assert traces
    assert sketch
    wait_for(lambda: Sketches(store).covers, "sketches of what is left", timeout_s=60)
    assert all(len(cover.sketch) <= ends[of.by] for of, cover in Sketches(store).covers.items())
    for what, each in needles.items():
        assert outside(store, each) == [], f"{what}, once the sketches are made anew"
    assert site.run("verify", "store", "--deep").out == "nothing is wrong\n"
    ingest.interrupt()
    assert outside(store, needles["a look"]) == []
