"""How much work something is, counted in calls of functions: the same on every machine, however busy it is."""

import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def work(function: Callable[..., T], *arguments: object) -> tuple[T, int]:
    """What the function returns, and how many functions, of Python and of C, were called for that in this thread.

    What a single function of C does, such as a search by a regular expression, counts as one.
    """
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = function(*arguments)
    finally:
        sys.setprofile(before)
    return result, calls
