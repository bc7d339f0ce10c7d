"""Occupancy beside latency: what the correlation finds, by figures."""

from dataclasses import replace

from fake_runs import COMPILE_HEADER, config, explanation, h100_run, row

from ssdprof.kernels.config import NUM_STAGES
from ssdprof.profiling.diagnosis.correlation import among_neighbours, among_ranked, correlation
from ssdprof.profiling.runs.model import Explanation, Neighbours, Row


def spread(latencies: list[float]) -> list[Row]:
    registers = (255, 168, 128, 96, 80, 64, 48)
    return [
        row(config(64, 64, 32, 128, 4, stages), registers[stages - 1], 20_000, latency_ms=latency_ms)
        for stages, latency_ms in enumerate(latencies, 1)
    ]


def test_a_single_row_says_nothing_of_a_relation() -> None:
    assert correlation(spread([1.0])) is None
    assert among_ranked(spread([1.0])) is None


def test_the_figures_are_the_correlation_and_what_chance_gives() -> None:
    falling = correlation(spread([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]))
    assert falling is not None
    assert ("strong", 7, -1.0, [1.0, 7.0]) == tuple(
        falling[name] for name in ("finding", "configs", "spearman", "latency_ms")
    )
    assert 0.80 == round(falling["spearman_by_chance"], 2)
    rising = correlation(spread([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]))
    assert rising is not None
    assert "higher-latency" == rising["finding"]


def test_recorded_latencies_count_as_measured_ones_do() -> None:
    one = explanation()
    measured = [row for row in h100_run().rows if row.config_id in {r.config_id for r in one.neighbours[0].rows}]
    assert correlation(measured) == correlation(one.neighbours[0].rows)


def test_the_highest_occupancy_is_named_beside_the_best_if_it_is_not_the_same() -> None:
    found = among_ranked(h100_run().ranked)
    assert found is not None
    assert ["m32n64k32d128w2s5", "m64n64k32d128w2s4"] == [
        found.figures[name]["config_id"] for name in ("highest_occupancy", "best")
    ]
    best = spread([3.0, 2.0])[::-1]
    same = among_ranked(best)
    assert same is not None
    assert "highest_occupancy" not in same.figures


def test_a_neighbour_of_higher_occupancy_is_held_against_the_config() -> None:
    own, *others = spread([2.0, 1.6, 2.4])
    one = Explanation(COMPILE_HEADER, own, (Neighbours(NUM_STAGES, (own, *others)),), None, None)
    against, relation = among_neighbours(one)
    assert ("higher-occupancy", "faster", 2) == (
        against.code,
        against.figures["finding"],
        against.figures["neighbours"],
    )
    assert ("occupancy-and-latency", "too-few") == (relation.code, relation.figures["finding"])
    slower = replace(one, neighbours=(Neighbours(NUM_STAGES, (own, others[1])),))
    assert "slower" == among_neighbours(slower)[0].figures["finding"]
    wrong = replace(one, row=replace(own, status="wrong"))
    assert {"config_id": own.config_id, "status": "wrong"} == among_neighbours(wrong)[0].figures
