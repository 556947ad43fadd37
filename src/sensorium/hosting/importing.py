"""Import: a recording in somebody else's format goes into a store, through the same encoding and the same commit."""

import contextlib
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from blake3 import blake3
from pydantic import ValidationError

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.registry import GROUP, model_of
from sensorium.episode import durable
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError, SpoolError, StoreError
from sensorium.hosting.beside_store import made_in_vain, passing_folder, remove_left
from sensorium.hosting.into_store import collect_into
from sensorium.hosting.spool_copy import COPY, say_handing_over, settle, spool_held, take_place
from sensorium.ingest.import_requests import SideStore, made_beside
from sensorium.ingest.store import Store
from sensorium.ingest.store_folder import StoreHeld, store_errors

MAX_EPISODE_S = 86_400.0
_KINDS = {
    ".mcap": "replay-mcap",
    ".h5": "replay-hdf5",
    ".hdf5": "replay-hdf5",
    ".csv": "replay-csv",
    ".ulg": "replay-ulog",
}


def kind_of(source: Path) -> str:
    """The driver that replays what is at `source`, by what is there.

    Raises:
        ConfigError: nothing is there, or nothing that is known.
    """
    if not source.exists():
        raise ConfigError(f"{source}: nothing is there; give a recording")
    if source.is_dir():
        if (source / "meta" / "info.json").is_file():
            return "replay-lerobot"
        if (source / "mav0").is_dir() or source.name == "mav0" or any(source.glob("*/data.csv")):
            return "replay-euroc"
        raise ConfigError(f"{source}: no folder of LeRobot (meta/info.json) or EuRoC (mav0); name its --kind")
    if source.suffix.lower() not in _KINDS:
        raise ConfigError(f"{source}: what {source.suffix or 'this'} is, is not known; name its --kind (replay-...)")
    kind = _KINDS[source.suffix.lower()]
    if kind != "replay-mcap":
        return kind
    from sensorium.drivers.replay.replay_mcap_export import is_export

    return "replay-mcap-export" if is_export(source) else kind


def bring(
    source: Path,
    store: Path,
    *,
    kind: str | None = None,
    options: Mapping[str, Any] | None = None,
    name: str = "rec",
    device: str = "import",
    length_s: float = 60.0,
    told: Callable[[Mapping[str, Any]], object] = lambda _: None,
    handing: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Collect a recording into `store`, made if absent, as fast as it can be read; the last status, whether it was
    `taken_over` by an ingest, and whether it was `collected_before`.

    `kind` is the driver that replays it (None: by what it is), `options` more of that driver's configuration, as a
    device file has it. Of formats that have episodes each is one; any other recording is cut at multiples of
    `length_s`. What was cut short is brought as far as it is whole, and its account says so.

    It is collected into a store beside, which is then taken over, by an ingest where one writes the store; that is
    waited for, and `handing(done, total)` counts its episodes. Nothing is in the store before all of it is collected;
    from then on all of it will be, though this end: the same again, while that waits, does not collect it again. Where
    nothing was brought no store is left that was not there.

    Raises:
        ConfigError: nothing known is there, or the options do not fit.
        StoreError: the disk fails, or not all could be taken over.
        SensoriumError: the recording ends by an error; what was whole before is in the store.
    """
    kind = kind or kind_of(source)
    model = model_of(GROUP, kind, DriverConfig)
    document = {"kind": kind, "path": source.absolute(), "pace": "fast", **(options or {})}
    try:
        sensor = model.model_validate(document)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or kind}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{source}: {kind}: {wrong}; give it more by --set KEY=VALUE (docs/sensors.md)") from error
    identity = sensor.identity(Path.cwd())
    opened = sensor.open(name, Path.cwd())
    specs = opened.specs
    opened.close()
    marked = kind in ("replay-lerobot", "replay-hdf5", "replay-mcap-export")
    parts: dict[str, Any] = {} if marked else {"trigger": {"kind": "interval", "length_s": length_s}}
    parts["encodings"] = {
        each: {"codec": "jpeg"} for each in _jpegs(source, kind, name) if each in {s.name for s in specs}
    }
    if marked:
        parts["mission"] = {"name": "import", "max_episode_s": MAX_EPISODE_S}
    with made_in_vain(store), passing_folder(store) as folder:

        def collect(into: Path) -> dict[str, Any]:
            spool = folder / into.name
            status = collect_into(
                into, sensor, name=name, device=device, spool=spool, told=told, then="nothing was brought", **parts
            )
            with store_errors(store):
                durable.remove_tree(spool)  # to be taken over takes some room
            return status

        _made(store)
        said = repr((identity and identity.said, sensor, name, device, length_s))
        with made_beside(store, blake3(said.encode(errors="surrogatepass")).hexdigest() if identity else "") as side:
            return _beside(side, collect, handing)


def bring_again(
    sensor: DriverConfig,
    store: Path,
    spool: Path,
    *,
    device: str,
    told: Callable[[Mapping[str, Any]], object] = lambda _: None,
    handing: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """As `bring`, of a source that marks its episodes, by a spool that is kept: by it is known what was brought before,
    and is passed over. Where an ingest writes the store it is a copy of the spool, which takes its place once what was
    collected is handed over; where this is killed then, at the next call.

    Raises:
        SensoriumError: as `bring`; or the spool is used by another process.
    """

    def collect(into: Path, by: Path) -> dict[str, Any]:
        then = "it goes on from there" if into == store else "nothing was brought"
        return collect_into(into, sensor, device=device, spool=by, told=told, then=then)

    kept = partial(settle, spool=spool)
    remove_left(spool, kept)
    with made_in_vain(store):
        try:
            return collect(store, spool) | {"taken_over": False}
        except StoreHeld:
            pass
        with passing_folder(spool, kept) as folder, made_beside(store) as side, spool_held(spool):
            if spool.is_dir():
                shutil.copytree(spool, folder / COPY)

            def handed(done: int, total: int) -> None:
                take_place(folder, spool)
                handing(done, total)

            say = partial(say_handing_over, folder, store, side.folder)
            return _beside(side, lambda into: collect(into, folder / COPY), handed, say)


def _made(store: Path) -> None:
    """A store is there; an ingest may hold it."""
    with contextlib.suppress(StoreHeld), Store.open(store):
        pass


def _beside(
    side: SideStore,
    collect: Callable[[Path], dict[str, Any]],
    handing: Callable[[int, int], None],
    say: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Collect into a store of its own, which is then taken over, by the ingest that holds the store if there is one; of
    a recording that ends by an error what was whole before. Where the disk has no room for it nothing is brought. `say`
    is called before it is handed over. What was handed over before is waited for alone."""
    if before := side.before:
        taken_over = side.hand_over(handing)
        if before.error:
            raise SensoriumError(before.error)
        ordinals = {"committed": before.episodes, "pending": 0}
        return {"episodes": before.episodes, "ordinals": ordinals, "taken_over": taken_over, "collected_before": True}
    try:
        status = collect(side.folder)
    except (StoreError, SpoolError):
        raise
    except SensoriumError as error:
        if side.count():
            say()
            side.hand_over(handing, error=str(error))
        raise
    if waiting := status["ordinals"].get("pending", 0):
        raise StoreError(
            f"{side.folder}: {many(waiting, 'episode')} could not be committed there, and nothing was brought; see the"
            " log, and import again"
        )
    say()
    return status | {"taken_over": side.hand_over(handing), "collected_before": False}


def _jpegs(source: Path, kind: str, name: str) -> list[str]:
    """The streams that are JPEGs already, and stay as they are."""
    if kind == "replay-mcap-export":
        from sensorium.drivers.replay.replay_mcap_export import jpeg_streams

        return jpeg_streams(source, name)
    if kind != "replay-hdf5":
        return []
    import h5py

    with h5py.File(source, "r") as file:
        return [f"{name}.{key}" for key, group in file.items() if hasattr(group, "keys") and "items" in group]
