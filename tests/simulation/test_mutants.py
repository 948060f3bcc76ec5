"""The simulation finds known bugs: with each mutant, an invariant fails."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest

from tests.faults import mutants as fault_mutants

from .mutants import MUTANTS, Mutant
from .process import simulated


def _apply(patch: Callable[[], AbstractContextManager[None]]) -> None:
    """Apply the patch, which fails after a renaming. With other parameters, the mutant would only crash."""
    replaced: list[tuple[Any, Any]] = []
    original = mock.patch.object

    def record(target: Any, name: str, new: Any = mock.DEFAULT, **options: Any) -> Any:
        replaced.append((getattr(target, name), new))
        return original(target, name, new, **options)

    with mock.patch.object(mock.patch, "object", record), patch():
        pass
    for old, new in replaced:
        if inspect.isfunction(old) and inspect.isfunction(new):
            missing = _keywords(old) - _keywords(new)
            assert not missing or inspect.getfullargspec(new).varkw, f"{new.__qualname__} does not take {missing}"


def _keywords(function: Callable[..., Any]) -> set[str]:
    return set(inspect.getfullargspec(function).kwonlyargs)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_of_the_simulation_fits_the_code(mutant: Mutant) -> None:
    _apply(mutant.patch)


@pytest.mark.parametrize("name", fault_mutants.ALL)
def test_mutant_of_the_fault_tests_fits_the_code(name: str) -> None:
    _apply(lambda: fault_mutants.applied(name))


def test_simulation_finds_a_repeated_send_within_a_few_worlds() -> None:
    done = simulated(
        "--mutants", "the send is repeated", "--focused", "--minutes", "2", "--exporters", "8", "--days", "2"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sent twice" in done.stdout


@pytest.mark.long
def test_simulation_finds_each_mutant_within_ten_minutes_of_cpu() -> None:
    done = simulated("--mutants", "--minutes", "10")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
