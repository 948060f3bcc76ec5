"""The simulation finds bugs that are known: each one is put back, and an invariant fails."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest

from tests.faults import broken

from .mutants import MUTANTS, Mutant
from .process import simulated


def _put_back(patch: Callable[[], AbstractContextManager[None]]) -> None:
    """Apply the patch. After a renaming it would fail, and with other parameters the bug would be a crash."""
    replaced: list[tuple[Any, Any]] = []
    original = mock.patch.object

    def noting(target: Any, name: str, new: Any = mock.DEFAULT, **options: Any) -> Any:
        replaced.append((getattr(target, name), new))
        return original(target, name, new, **options)

    with mock.patch.object(mock.patch, "object", noting), patch():
        pass
    for old, new in replaced:
        if inspect.isfunction(old) and inspect.isfunction(new):
            missing = _keywords(old) - _keywords(new)
            assert not missing or inspect.getfullargspec(new).varkw, f"{new.__qualname__} does not take {missing}"


def _keywords(function: Callable[..., Any]) -> set[str]:
    return set(inspect.getfullargspec(function).kwonlyargs)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_known_bug_can_be_put_back(mutant: Mutant) -> None:
    _put_back(mutant.patch)


@pytest.mark.parametrize("name", broken.EVERY)
def test_each_broken_build_can_be_made(name: str) -> None:
    _put_back(lambda: broken.build(name))


def test_a_bug_that_sends_again_is_found_within_a_few_worlds() -> None:
    done = simulated(
        "--mutants", "the send is repeated", "--focused", "--minutes", "2", "--exporters", "8", "--days", "2"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sent twice" in done.stdout


@pytest.mark.long
def test_every_known_bug_is_found_within_ten_minutes_of_cpu() -> None:
    done = simulated("--mutants", "--minutes", "10")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
