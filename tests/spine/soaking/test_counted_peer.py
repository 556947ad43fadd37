"""The reader that judges the soak sees what it is there to see."""

from collections import Counter

import numpy as np

from tests.spine.soaking.counted_peer import is_right, judged

RUNS = [{"imu": [1, 2, 3, 4]}, {"imu": [7, 8, 9]}]


def test_all_that_was_delivered_is_there_once() -> None:
    about = judged(RUNS, "imu", Counter([1, 2, 3, 4, 7, 8, 9]), 0)
    assert (about["delivered"], about["stored"], about["tails"]) == (7, 7, [0, 0])
    assert not any(about[key] for key in ("twice", "altered", "missing", "missing_elsewhere"))


def test_what_is_lost_twice_or_altered_is_seen() -> None:
    about = judged(RUNS, "imu", Counter([1, 3, 3, 7, 8, 9, 11]), 2)
    assert (about["missing"], about["missing_elsewhere"]) == (2, 1)  # 2; and 4, at the end of its run
    assert about["tails"] == [1e-9, 0]
    assert about["twice"] == 1
    assert about["altered"] == 3  # two that are wrong, and 11 was never delivered


def test_a_run_of_which_nothing_is_there_has_lost_all_of_its_time() -> None:
    assert judged(RUNS, "imu", Counter([7, 8, 9]), 0)["tails"] == [3e-9, 0]


def test_a_sample_that_is_not_what_its_stamp_says_is_altered() -> None:
    stamps = np.array([5_000_000, 10_000_000])
    data = (stamps[:, None] // 1000 * np.arange(1, 7) % 65_521).astype(np.int64)
    assert is_right(stamps, data).tolist() == [True, True]
    data[1, 3] += 1
    assert is_right(stamps, data).tolist() == [True, False]
