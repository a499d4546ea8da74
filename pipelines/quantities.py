"""Kubernetes' quantities and durations, as `infra/placement.yaml` spells them and as kfp takes them."""

import math
import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from components.core.errors import UserError

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])|[eE]([+-]?[0-9]+))?")
_BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
_POWERS = {"n": -3, "u": -2, "m": -1, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_DECIMAL = {letter: Decimal(1000) ** power for letter, power in _POWERS.items()}
_LARGEST = 2**63 - 1
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def amount(quantity: str) -> Decimal:
    """The number that a quantity such as `500m` or `16Gi` stands for, in Kubernetes' grammar.

    Raises:
        ValueError: it is none, not above 0, or beyond Kubernetes' 64 bits.
    """
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError("no quantity")
    number, suffix, exponent = match.groups()
    try:
        value = Decimal(number).scaleb(int(exponent or 0)) * (_BINARY | _DECIMAL).get(suffix, Decimal(1))
    except ArithmeticError:
        raise ValueError("out of range") from None
    if not 0 < value <= _LARGEST:
        raise ValueError("out of range")
    return value


def cpu_text(quantity: str) -> str:
    """A quantity of processors as kfp takes it, which knows no suffix but m."""
    return quantity if re.fullmatch("[0-9]+m?", quantity) else f"{math.ceil(amount(quantity) * 1000)}m"


def memory_text(quantity: str) -> str:
    """A quantity of memory as kfp takes it, which knows whole numbers alone, and no k."""
    return quantity if re.fullmatch("[0-9]+([KMGTPE]i|[MGTPE])?", quantity) else str(math.ceil(amount(quantity)))


def seconds(duration: str) -> int:
    """The length of a duration such as `90s` or `12h`.

    Raises:
        UserError: it is none.
    """
    if not (match := _DURATION.fullmatch(duration)):
        raise UserError(f"{duration} is no duration; write a whole number and s, m, h or d, such as 90s or 12h.")
    number, unit = match.groups()
    return int(number) * _SECONDS[unit]


def _text(value: Any) -> Any:
    """YAML reads `cpu: 2` as a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _quantity(text: str) -> str:
    try:
        amount(text)
    except ValueError:
        raise PydanticCustomError("quantity", "must be a Kubernetes quantity above 0, such as 500m or 16Gi") from None
    return text


def _duration(text: str) -> str:
    if not _DURATION.fullmatch(text):
        raise PydanticCustomError("duration", "must be a whole number and s, m, h or d, such as 90s or 12h")
    return text


Quantity = Annotated[str, BeforeValidator(_text), AfterValidator(_quantity)]
Duration = Annotated[str, AfterValidator(_duration)]
