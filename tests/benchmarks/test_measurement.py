"""Figures from samples."""

import pytest

from benchmarks.measurement import Measured, Sample, differences, in_turns, ratio, spread
from benchmarks.section import Section


def measured(name: str, *seconds: float) -> Measured:
    return Measured(name, samples=[Sample(value, value / 2, 2_000_000) for value in seconds])


def test_things_are_measured_in_turns() -> None:
    order: list[str] = []

    def measure(name: str) -> Sample:
        order.append(name)
        return Sample(1, 1)

    first, second = Measured("a"), Measured("b")
    in_turns(2, (first, lambda: measure("a")), (second, lambda: measure("b")))
    assert order == ["a", "b", "a", "b"]
    assert len(first.samples) == len(second.samples) == 2


def test_the_ratio_is_the_median_of_the_pairs() -> None:
    # The medians' own ratio would be 4 / 2: the slow moment of the machine met both of the last pair.
    assert ratio(measured("ours", 1, 4, 90), measured("bare", 1, 2, 30)) == 2
    assert ratio(measured("ours", 1, 4, 40), measured("bare", 2, 2, 10), "cpu_seconds") == 2


def test_ours_less_all_peers_together() -> None:
    found = differences(measured("ours", 10, 20), measured("a", 1, 2), measured("b", 3, 4), what="seconds")
    assert found == [6, 14]


def test_pairs_that_are_not_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        ratio(measured("ours", 1, 2), measured("bare", 1))


def test_spread_shows_median_smallest_and_largest() -> None:
    assert spread([3, 0.05, 120]) == "3.00 (0.050–120.0)"


def test_measurements_travel_between_processes() -> None:
    ours = measured("ours", 1, 2)
    assert Measured.of(ours.plain()) == ours


def test_a_missed_target_is_said_plainly() -> None:
    section = Section()
    section.comparison([measured("ours", 2), measured("bare", 1)], peer=measured("bare", 1))
    section.judge("at most 1.2 times", "2.00 times", met=False)
    section.judge("under 5 s", "2 s", met=True)
    lines = section.markdown().splitlines()
    assert lines[:2] == ["- **NOT met**: at most 1.2 times; found 2.00 times.", "- **met**: under 5 s; found 2 s."]
    assert "| ours | 2.00 (2.00–2.00) | 1.00 (1.00–1.00) | 2 | 2.00 |" in lines
