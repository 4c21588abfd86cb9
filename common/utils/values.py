"""A text, as a person types it, as a value of an annotated type."""

import math
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from common.utils.errors import UserError


@dataclass(frozen=True)
class Range:
    """Which values a number takes: low <= value <= high, or low < value if low itself makes no sense."""

    low: float
    high: float = math.inf
    without_low: bool = False

    def holds(self, value: float) -> bool:
        above = value > self.low if self.without_low else value >= self.low
        return math.isfinite(value) and above and value <= self.high

    def __str__(self) -> str:
        if self.high < math.inf:
            return f"between {self.low:g} and {self.high:.10g}"
        return f"more than {self.low:g}" if self.without_low else f"{self.low:g} or more"


def parse_value(key: str, kind: Any, text: str) -> Any:
    """The text as a value of a type: words (Literal), something or none, truth, text, numbers in a Range.

    key: what a UserError calls the value. A number's type is Annotated[int or float, Range(...)].
    """
    if get_origin(kind) is Annotated:
        return _number(key, *get_args(kind), text)
    if get_origin(kind) is Literal:
        words = {str(value): value for value in get_args(kind)}
        if text not in words:
            raise UserError(f"{key} is one of {', '.join(words)}, not '{text}'")
        return words[text]
    if get_origin(kind) in (Union, types.UnionType):  # something or none
        if text.lower() in ("none", ""):
            return None
        something = next(k for k in get_args(kind) if k is not type(None))
        return parse_value(key, something, text)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"{key} is true or false, not '{text}'")
        return text.lower() == "true"
    if not text:
        raise UserError(f"{key} is empty: leave it out for the default")
    return text


def _number(key: str, kind: type[int] | type[float], allowed: Range, text: str) -> int | float:
    try:
        value = kind(text)
    except ValueError:
        raise UserError(f"{key} takes {kind.__name__} values, not '{text}'") from None
    if not allowed.holds(value):
        raise UserError(f"{key} is {allowed}, not '{text}'")
    return value
