"""UTC lies within its bounds, and is unknown rather than guessed."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.corpus.utc import utc_of, utc_text
from sensorium.drivers.clock import Clock

LIVE = Clock(kind="boottime", boot_id="b")
S = 1_000_000_000


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_true_utc_lies_within_the_uncertainty(data: st.DataObject) -> None:
    """A clock that drifts by up to 50 ppm, changing as it goes, probed over paths whose two ways differ."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    seconds = 600
    rates = np.clip(np.cumsum(rng.normal(0, 20e-6, seconds)) + rng.uniform(-50e-6, 50e-6), -50e-6, 50e-6)
    device = 5 * S + np.arange(seconds + 1, dtype=np.int64) * S
    utc = 1_700_000_000 * S + np.concatenate(([0], np.cumsum(np.rint(S * (1 + rates)).astype(np.int64))))

    def true_utc(ns: Any) -> Any:
        return utc[0] + np.rint(np.interp(ns - device[0], device - device[0], (utc - utc[0]).astype(float))).astype(
            np.int64
        )

    probes = []
    for _ in range(data.draw(st.integers(1, 6))):
        sent = int(rng.integers(device[0], device[-2]))
        there, back = (int(rng.exponential(3e6)) for _ in range(2))
        # Four stamps, as NTP: the middle of the device's two, and the server's at the moment it answered.
        probes.append((sent + (there + back) // 2, int(true_utc(sent + there)), there + back + 2))
    stamps = np.sort(rng.integers(device[0], device[-1], 50))
    got, uncertainty = utc_of(stamps, LIVE, np.array(probes, np.int64))
    assert got is not None
    assert uncertainty is not None
    assert (np.abs(got - true_utc(stamps)) <= uncertainty).all()
    assert (uncertainty >= min(probe[2] for probe in probes) // 2).all()


def test_utc_without_probes_is_unknown_and_never_a_guess() -> None:
    stamps = np.array([1, 2], np.int64)
    none = np.empty((0, 3), np.int64)
    assert utc_of(stamps, LIVE, none) == (None, None)
    assert utc_of(stamps, Clock(kind="simulated"), np.array([[0, 5, 1]])) == (None, None)
    stated, uncertainty = utc_of(stamps, Clock(kind="recording", states_utc=True), none)
    assert stated is not None
    assert list(stated) == [1, 2]
    assert uncertainty is None
    assert utc_text(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert utc_text(2**63 - 1) == "2262-04-11T23:47:16.854775Z"
    assert utc_text(2**90) is None
