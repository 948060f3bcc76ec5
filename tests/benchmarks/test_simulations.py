"""The simulated benchmarks at tiny sizes: what they count, and that they keep within the limits of the vendors."""

from dataclasses import replace

import pytest

from benchmarks import new_exporters, shared_list
from benchmarks.figures import Figure
from benchmarks.new_exporters_simulation import NewExporters, NewExportersSimulation
from benchmarks.queue_simulation import PEOPLE
from benchmarks.shared_list_simulation import IMPORT_SECONDS, SharedList, SharedListSimulation


def summary(figure: Figure) -> tuple[float, float | None, bool | None]:
    return figure.value, figure.floor.value if figure.floor else None, figure.is_met


def test_exporters_that_share_a_list_send_once_and_not_before_the_imports_that_qualtrics_did_before_theirs() -> None:
    found = SharedListSimulation(4).run_slot()
    assert (found.mails, found.most_to_one_address, found.rate_limited) == (4 * PEOPLE, 1, 0)
    imports_done = [int(seconds / IMPORT_SECONDS) for seconds in found.sends]
    assert len(imports_done) == 4
    assert [number for number, done in enumerate(imports_done, start=1) if done < number] == []


def test_new_exporters_become_ready_without_a_failed_check_and_not_before_nexthink_accepts_their_query() -> None:
    found = NewExportersSimulation(tenants=2, exporters_of_each=3).run_until_ready()
    assert (len(found.ready), found.not_ready, found.rate_limited) == (6, 0, 0)
    accepted = [2 * (1 + int(seconds)) for seconds in found.ready]  # one query a second for each tenant
    assert [number for number, most in enumerate(accepted, start=1) if number > most] == []


def test_figures_of_a_shared_list_have_the_floor_of_one_import_after_the_other() -> None:
    sends = [16.0 * number for number in range(1, 101)]
    found = SharedList(sends=sends, mails=100 * PEOPLE, most_to_one_address=1, rate_limited=2)
    figures = list(shared_list.figures(found, 100))
    assert [summary(figure) for figure in figures] == [(44, 40, False), (1600, 1500, False), (2, None, False)]
    assert figures[0].note == "56 are sent"


@pytest.mark.parametrize(
    "changes", [{"sends": [16.0]}, {"mails": 2 * PEOPLE - 1}, {"mails": 2 * PEOPLE + 1}, {"most_to_one_address": 2}]
)
def test_shared_list_with_missing_or_repeated_mails_is_not_measured(changes: dict[str, object]) -> None:
    found = SharedList(sends=[16.0, 32.0], mails=2 * PEOPLE, most_to_one_address=1, rate_limited=0)
    assert len(list(shared_list.figures(found, 2))) == 3
    with pytest.raises(RuntimeError, match=r"of 2 exporters sent \d+ mails"):
        list(shared_list.figures(replace(found, **changes), 2))  # type: ignore[arg-type]


def test_figures_of_new_exporters_have_the_floor_of_one_query_a_second_for_each_tenant() -> None:
    found = NewExporters(ready=[float(number // 20) for number in range(400)], not_ready=3)
    figures = list(new_exporters.figures(found, 20, 20))
    assert [summary(figure) for figure in figures] == [(19, 19, True), (3, None, False), (0, None, True)]


def test_new_exporters_that_do_not_become_ready_are_not_measured() -> None:
    with pytest.raises(RuntimeError, match="3 of 4 exporters are Ready"):
        list(new_exporters.figures(NewExporters(ready=[1.0, 2.0, 3.0]), 2, 2))
