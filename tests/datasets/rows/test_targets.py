"""Numbers as targets: what is one, what is none, and what float32 cannot learn."""

from typing import Any

import numpy as np
import pytest

from datasets.rows.targets import LARGEST, NumberTarget


@pytest.mark.parametrize("value", [0, -3, 2.5, "1e3", " 7 ", LARGEST, -LARGEST, 5e-324])
def test_a_number_is_read_as_python_reads_it(value: Any) -> None:
    target = NumberTarget(label="score")
    names, problem = target.read(value)
    assert problem is None
    assert target.values([names], []).tolist() == [np.float32(float(value))]


@pytest.mark.parametrize("value", [None, True, "", "five", "3,5", "1_0", "nan", "inf", float("nan"), [1], {"a": 1}])
def test_what_is_no_number(value: Any) -> None:
    problem = NumberTarget(label="score").read(value)[1]
    assert problem is not None
    assert "in 'score'" in problem


@pytest.mark.parametrize("value", [1.1e16, "-1e19", "1e39", "1e300", 10**30])
def test_what_a_squared_error_overflows_on_is_a_bad_row(value: Any) -> None:
    names, problem = NumberTarget(label="score").read(value)
    assert (names, problem) == ((), "the number in 'score' is beyond 1e+16, the largest that can be learnt")
    assert np.isfinite(np.square(np.float32(LARGEST)) * np.float32(10**6)), "of a batch, too"
