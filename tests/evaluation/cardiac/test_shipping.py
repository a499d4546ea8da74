import pytest

from components.core.errors import UserError
from components.evaluation.cardiac.shipping import shipments


def test_without_an_area_under_the_curve_nothing_is_shipped_by_it(tmp_path):
    with pytest.raises(UserError, match=r"no AUC; choose accuracy as cardiac\.registry\.metric"):
        next(shipments([tmp_path], {"resnet50": {"none": None}}))
