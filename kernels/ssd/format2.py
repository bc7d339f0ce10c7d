"""Run files of format 2, which only the chunk scan ever wrote: turns their records into those of today."""

from __future__ import annotations

from typing import Any

from ssdprof.kernels.ssd.on_problem import OUTPUT
from ssdprof.kernels.ssd.params import PARAMS

_FINDINGS = {"tile": "one-tile"}
"""Finding codes that have been renamed."""


def upgraded(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """A record of format 2, as fields by name, with the fields it has today. Raises ValueError if it is not one."""
    if kind == "header":
        return _header(values)
    return _row(values) if kind == "row" else values


def _header(values: dict[str, Any]) -> dict[str, Any]:
    """A run had one output with one tolerance, and did not keep the table of parameters."""
    tolerances = values.get("tolerances")
    if tolerances is not None and not isinstance(tolerances, dict):
        raise ValueError("tolerances: not an object")
    lists = {param: {"around": list(param.around), "aliases": list(param.aliases)} for param in PARAMS}
    params = [{**{name: getattr(param, name) for name in param.__slots__}, **lists[param]} for param in PARAMS]
    return {**values, "tolerances": [{**tolerances, "output": OUTPUT}] if tolerances else [], "params": params}


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """A config had a field for each parameter."""
    config, check = values.get("config"), values.get("check")
    if not isinstance(config, dict):
        raise ValueError("config: not an object")
    known = {param.column: param for param in PARAMS}
    if unknown := set(config) - {*known, "variant"}:
        raise ValueError(f"config: unknown field {min(unknown)!r}")
    if missing := [column for column, param in known.items() if param.required and column not in config]:
        raise ValueError(f"config: {missing[0]} is missing")
    numbers = {param.name: config.get(column, param.default) for column, param in known.items()}
    row = {**values, "config": {"values": numbers, "variant": config.get("variant", PARAMS.variants[0])}}
    if isinstance(check, dict) and isinstance(check.get("findings"), list):
        row["check"] = {**check, "findings": [_finding(one) for one in check["findings"]]}
    return row


def _finding(one: Any) -> Any:
    code = one.get("code") if isinstance(one, dict) else None
    return {**one, "code": _FINDINGS[code]} if isinstance(code, str) and code in _FINDINGS else one
