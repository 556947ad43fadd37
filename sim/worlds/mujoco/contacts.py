"""Contacts as truth: which two things touch, how hard and where."""

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.row_spec import row_spec

CHANNELS = ("a", "b", "force", "x", "y", "z")


def contacts_spec(labels: tuple[str, ...]) -> StreamSpec:
    """Rows of pairs that touch: the numbers of both (`labels` in the calibration), the force between, N, and where."""
    return row_spec("contacts", "truth", CHANNELS, ", , N, m, m, m", None, calibration={"labels": list(labels)})


def labels_by_name(model: Any, names: Sequence[str], otherwise: str) -> npt.NDArray[np.uint16]:
    """What each geom is, by its name without its number, in `names`, and behind the last what nothing is."""
    labels = np.zeros(model.ngeom + 1, np.uint16)
    for geom in range(model.ngeom):
        name = model.geom(geom).name.rstrip("0123456789")
        labels[geom] = names.index(name if name in names else otherwise)
    return labels


def contact_rows(model: Any, data: Any, labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """One row [6] a pair of labels that touch now, in their order; forces along the normals are added up."""
    pairs: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
    wrench = np.zeros(6)
    for number in range(data.ncon):
        contact = data.contact[number]
        if contact.efc_address < 0:
            continue  # near, and not touching
        mujoco.mj_contactForce(model, data, number, wrench)
        one, other = (int(labels[geom]) for geom in contact.geom)
        total = pairs.setdefault((min(one, other), max(one, other)), np.zeros(5))
        total += [wrench[0], *(contact.pos * max(wrench[0], 1e-9)), max(wrench[0], 1e-9)]
    rows = [[*pair, total[0], *(total[1:4] / total[4])] for pair, total in sorted(pairs.items(), key=lambda at: at[0])]
    return np.array(rows, np.float64).reshape(-1, len(CHANNELS))
