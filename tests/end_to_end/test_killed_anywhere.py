"""Whole steps, their checkpoints and their delivery, killed at any line: `make bench` kills 200, the suite a few."""

import pytest
from kills import PLACES, kill_and_check


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", PLACES)
def test_a_step_killed_in(place, tmp_path):
    kill_and_check(place, tmp_path, kills=3)
