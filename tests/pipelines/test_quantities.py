import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kfp.dsl.pipeline_task import PipelineTask
from kubernetes.utils.quantity import parse_quantity

from pipelines.quantities import amount, cpu_text, memory_text, seconds

NUMBER = st.from_regex(r"([0-9]{1,6}(\.[0-9]{0,3})?|\.[0-9]{1,3})", fullmatch=True)
SUFFIX = st.sampled_from(["", *"numkMGTP", "Ki", "Mi", "Gi", "Ti", "Pi", "e3", "E3", "e-3", "E+2"])


def positive(quantity):
    return parse_quantity(quantity) > 0 and parse_quantity(quantity) < 2**63


QUANTITIES = st.builds(str.__add__, NUMBER, SUFFIX).filter(positive)


@given(QUANTITIES)
def test_a_quantity_means_what_it_means_to_kubernetes(quantity):
    assert amount(quantity) == parse_quantity(quantity)


@given(QUANTITIES)
def test_kfp_takes_every_quantity_rounded_up_if_need_be(quantity):
    cpu, memory = cpu_text(quantity), memory_text(quantity)
    PipelineTask._validate_cpu_request_limit(None, cpu)
    PipelineTask._validate_memory_request_limit(None, memory)
    assert 0 <= parse_quantity(cpu) - amount(quantity) < Decimal("0.001")
    assert 0 <= parse_quantity(memory) - amount(quantity) < 1


@given(st.text(max_size=8))
def test_what_is_no_quantity_is_refused(text):
    if re.fullmatch(r"(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?", text, re.ASCII):
        return
    with pytest.raises(ValueError):
        amount(text)


@pytest.mark.parametrize(
    "text", ["0", "-1", "+1", "16 Gi", "16GB", "1K", "1gi", "one", "", "NaN", "1e99999", "16E", "٣"]
)
def test_zero_a_sign_a_space_and_other_units_are_refused(text):
    with pytest.raises(ValueError):
        amount(text)


@pytest.mark.parametrize(("text", "length"), [("90s", 90), ("5m", 300), ("12h", 43200), ("3d", 259200)])
def test_a_duration_is_a_number_and_a_unit(text, length):
    assert seconds(text) == length
