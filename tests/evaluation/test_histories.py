"""Histories of trainings, read."""

import pytest

from components.evaluation.histories import failures, read_history


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("step,loss\n1,0.5\n", []),
        ("step,collapsed\n1,0.0\n2,\n", []),
        ("step,collapsed\n1,0.0\n2,\n11,1.0\n21,1.0\n", ["GAN collapsed at step 11"]),
        ("step,loss,restarted\n1,0.5,1\n2,0.4,\n", ["GAN begun anew"]),
        ("step,loss,restarted\n1,0.5,3\n2,0.4,\n", ["GAN begun anew 3 times"]),
    ],
)
def test_what_failed_is_found_in_the_history(text, found, tmp_path):
    (tmp_path / "history.csv").write_text(text)
    assert failures({"GAN": read_history(tmp_path / "history.csv")}) == found
