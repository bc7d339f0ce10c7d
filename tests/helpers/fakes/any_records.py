"""Any records that a run can have, for hypothesis to draw."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from ssdprof.kernels.config import Config, Param
from ssdprof.kernels.interface import LeftOut, Remark, Tolerances
from ssdprof.profiling.hardware.occupancy import Occupancy
from ssdprof.profiling.runs.counters import Counted, Counters
from ssdprof.profiling.runs.measured import Batch, Check, Compiled, Conditions, Finding
from ssdprof.profiling.runs.model import Device, Row, RunHeader
from ssdprof.profiling.runs.modelled import Model, Modelled
from ssdprof.profiling.runs.traffic import TensorTraffic, Traffic
from ssdprof.profiling.runs.work import CLASSES, Executed

IDS = ("a", "b")


def whole(kind: Any, **given: Any) -> st.SearchStrategy[Any]:
    """Any value of a dataclass, its optional fields too."""
    return st.builds(kind, **{field.name: given.get(field.name, ...) for field in fields(kind)})


CONDITIONS = whole(Conditions)
DEVICES = whole(Device, conditions=CONDITIONS)
JSON_VALUES = st.none() | st.booleans() | st.integers() | st.text()
VALUES = JSON_VALUES | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["NaN", "1", "true"])
HEADERS = whole(
    RunHeader,
    device=DEVICES,
    problem=st.dictionaries(st.text(), JSON_VALUES, max_size=3),
    tolerances=st.lists(whole(Tolerances), max_size=2).map(tuple),
    params=st.lists(whole(Param, default=VALUES), max_size=2).map(tuple),
    left_out=st.lists(whole(LeftOut), max_size=2).map(tuple),
    remarks=st.lists(whole(Remark, figures=st.dictionaries(st.text(), JSON_VALUES, max_size=2)), max_size=2).map(tuple),
)
CONFIGS = st.builds(
    Config, values=st.dictionaries(st.text(), VALUES, max_size=4).map(lambda one: tuple(one.items())), variant=st.text()
)
CHECKS = whole(Check, findings=st.lists(whole(Finding), max_size=2).map(tuple))
ROWS = whole(
    Row,
    config=CONFIGS,
    config_id=st.sampled_from(IDS),
    compiled=st.none() | whole(Compiled),
    check=st.none() | CHECKS,
    occupancy=st.none() | whole(Occupancy),
    timing=st.none(),
    rank=st.none(),
    speedup_vs_baseline=st.none(),
    tied_with_best=st.none(),
    recorded=st.none(),
    achieved=st.none(),
    answer=st.none(),
    counters=st.none(),
    model=st.none(),
    floor_ms=st.none(),
    bound=st.none(),
)
COUNTED = whole(
    Counted,
    config_id=st.sampled_from(IDS),
    counters=whole(Counters, metrics=st.lists(st.tuples(st.text(), st.floats(allow_nan=False)), max_size=2).map(tuple)),
)
FINITE = st.floats(allow_nan=False)
TENSORS = st.lists(whole(TensorTraffic), max_size=2).map(tuple)
EXECUTED = whole(
    Executed,
    by_class=st.lists(st.tuples(st.sampled_from(CLASSES), FINITE), max_size=2).map(tuple),
    tensor_flops=st.lists(st.tuples(st.text(), FINITE), max_size=2).map(tuple),
    assumed=st.lists(st.text(), max_size=2).map(tuple),
)
MODELLED = whole(
    Modelled,
    config_id=st.sampled_from(IDS),
    model=whole(
        Model,
        traffic=st.none() | whole(Traffic, tensors=TENSORS, dependent=st.lists(st.text(), max_size=2).map(tuple)),
        executed=st.none() | EXECUTED,
        axes=st.lists(st.tuples(st.text(), st.integers()), max_size=3).map(tuple),
    ),
)
BATCHES = whole(Batch, config_id=st.sampled_from(IDS), conditions=CONDITIONS)
LISTS_OF_RECORDS = st.lists(ROWS | BATCHES | COUNTED | MODELLED | HEADERS, max_size=4)
