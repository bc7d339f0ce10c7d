"""Inputs, references and outputs of one subject on one device, and the check of a launch against them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from ssdprof.kernels.config import Config
from ssdprof.kernels.interface import Axis, Diagnosing, Referenced, Subject, Unordered
from ssdprof.kernels.launch import LaunchPlan
from ssdprof.profiling.measuring.amounts import GUARD_BYTES, input_sets, turn_samples, written_storages
from ssdprof.profiling.measuring.check import Errors, figure, judge, merge, share_of, within
from ssdprof.profiling.measuring.compare import CUT_AXES, as_rows, is_cut, output_errors, row_norm_rms
from ssdprof.profiling.measuring.guard import Fingerprints, GuardedOutput, same_bits
from ssdprof.profiling.measuring.locate import MOST, locate, nan_rows, share
from ssdprof.profiling.measuring.sketch import sketch
from ssdprof.profiling.measuring.timer import CudaTimer, Launch, Reset
from ssdprof.profiling.runs.measured import Batch, Check, Finding, TimedBy

FILLINGS = (math.nan, math.inf, -math.inf)
"""What outputs of floats hold before equal launches, in turn: a maximum passes over NaN, but not over infinity."""
LAUNCHES_PER_SEED = 5
"""Launches on each set of inputs; their bits are compared."""
UNDER_LOAD = (2, 4)
"""Which of these run beside other work, counted from 1; the others run alone."""
LAUNCHES_IF_WRONG = 3
"""Launches of a config with a wrong first output: enough to tell wrong from unstable."""
SAMPLES_IF_WRONG = 2
"""Timed launches of a wrong config at its first look: enough to see which wrong config is fastest."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """One set of inputs, with the correct outputs and their typical row norms, by output."""

    tensors: Mapping[str, torch.Tensor]
    reference: Mapping[str, torch.Tensor]
    norm_rms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bound:
    """A launch on one set of inputs. `reset` restores tensors that are both read and written."""

    launch: Launch
    reset: Reset


class Session:
    """Everything needed to check and time launches of one subject."""

    def __init__(self, subject: Subject, timer: CudaTimer, seed: int) -> None:
        assert isinstance(subject, Referenced), "without a reference nothing is measured"
        self.subject, self.timer, self.seed = subject, timer, seed
        self.stale = False
        """Whether inputs or references have changed."""
        self.tolerances = {one.output: one for one in subject.tolerances()}
        self.against = any(one.against for one in self.tolerances.values())
        """Whether a reference is not known to be correct, so that another output may be the correct one."""
        self._axes = {name: subject.axes(name) for name in self.tolerances}
        self._make_inputs(subject)
        metas = subject.tensors()
        self._guarded = [GuardedOutput(group, timer.device, GUARD_BYTES) for group in written_storages(metas)]
        held = {name: tensor for guarded in self._guarded for name, tensor in guarded.tensors.items()}
        self.outputs = {name: tensor for name, tensor in held.items() if metas[name].is_written}
        self._read_only = {name: tensor for name, tensor in held.items() if metas[name].role == "in"}
        self._in_out = {name: tensor for name, tensor in held.items() if metas[name].role == "in-out"}
        self._held: Inputs | None = None
        """The set of inputs that the read-only tensors beside outputs hold."""
        self._changed: dict[str, None] = {}
        unordered = subject.unordered() if isinstance(subject, Unordered) else frozenset()
        self._unordered = tuple(name for name in self.outputs if name in unordered)
        self._exact = {name: tensor for name, tensor in self.outputs.items() if name not in unordered}
        self.first = {name: torch.empty_like(tensor) for name, tensor in self._exact.items()}
        self.sums_within = True
        """Whether the outputs that are summed in no order were correct, in all launches of the last check alike."""
        self.confirmed: dict[str, Fingerprints | None] = {}
        """The bits of the exact outputs, if any, on the last set of inputs, for each config found correct."""

    def _make_inputs(self, subject: Referenced) -> None:
        """Makes all sets of inputs, their references, and the fingerprints of both."""
        self.inputs: list[Inputs] = []
        self.special: set[str] = set()
        """Outputs whose reference has NaN, infinity, or numbers without a square in float32."""
        held: dict[str, torch.Tensor] = {}
        for number in range(input_sets(self.subject)):
            tensors = self.subject.inputs(self.timer.device, self.seed + number)
            reference = subject.reference(tensors)
            norms = {name: row_norm_rms(as_rows(tensor)) for name, tensor in reference.items()}
            for name in [name for name, norm in norms.items() if not math.isfinite(norm)]:
                self.special.add(name)
                norms[name] = row_norm_rms(as_rows(reference[name]), special=True)
            self.inputs.append(Inputs(tensors, reference, norms))
            held |= {f"{name}/{number}": tensor for name, tensor in tensors.items()}
            of = {name: f"the reference of {name}" if len(reference) > 1 else "the reference" for name in reference}
            held |= {f"{of[name]}/{number}": tensor for name, tensor in reference.items()}
        self.fingerprints = Fingerprints(held)

    def bind(self, plan: LaunchPlan, inputs: Inputs) -> Bound:
        """The launch on one set of inputs, into the guarded outputs."""

        def reset() -> None:
            self._hold(inputs)
            for name, tensor in self._in_out.items():
                tensor.copy_(inputs.tensors[name])

        return Bound(plan.bind({**inputs.tensors, **self._read_only, **self.outputs}), reset)

    def _hold(self, inputs: Inputs) -> None:
        """Fills the read-only tensors beside outputs with a set of inputs, unless they hold it already."""
        if inputs is not self._held:
            self._note_changed()
            for name, tensor in self._read_only.items():
                tensor.copy_(inputs.tensors[name])
            self._held = inputs

    def _note_changed(self) -> None:
        """Notes which read-only tensors beside outputs a launch has written to."""
        if self._held is not None:
            known = self._held.tensors
            self._changed |= {n: None for n, tensor in self._read_only.items() if not same_bits(tensor, known[n])}

    def errors(self, inputs: Inputs) -> tuple[str, Errors]:
        """How far the outputs are from the reference now: the worst of them, by its own tolerance, and its name."""
        return max(((name, self._errors_of(name, inputs)) for name in self.tolerances), key=self._excess)

    def _errors_of(self, name: str, inputs: Inputs) -> Errors:
        out, reference = as_rows(self.outputs[name]), as_rows(inputs.reference[name])
        special = name in self.special
        return output_errors(out, reference, self.tolerances[name], inputs.norm_rms[name], special=special)

    def unordered_errors(self, inputs: Inputs) -> list[tuple[str, Errors]]:
        """The same of each output that is summed in no order, with its name."""
        return [(name, self._errors_of(name, inputs)) for name in self._unordered]

    def within(self, name: str, errors: Errors) -> bool:
        """Whether an output with these errors is correct."""
        return within(errors, self.tolerances[name])

    def all_within(self, found: Sequence[tuple[str, Errors]]) -> bool:
        """Whether outputs with these errors are correct."""
        return all(self.within(name, errors) for name, errors in found)

    def all_same(self) -> bool:
        """Whether the outputs have the same bits as at first, but for those that are summed in no order."""
        return all(same_bits(tensor, self.first[name]) for name, tensor in self._exact.items())

    def confirm(self, name: str) -> None:
        """Notes the bits of the outputs as the correct ones for a config, but for those that are summed in no order."""
        self.confirmed[name] = Fingerprints(self._exact) if self._exact else None

    def is_confirmed(self, name: str, inputs: Inputs) -> bool:
        """Whether the outputs have the bits that were noted for a config, and those without an order are correct."""
        known = name in self.confirmed and not self.has_other_bits(name)
        return known and self.all_within(self.unordered_errors(inputs))

    def has_other_bits(self, name: str) -> bool:
        """Whether outputs with bits that were noted for a config have other bits now."""
        noted = self.confirmed.get(name)
        return noted is not None and bool(noted.changed())

    def poison(self, filling: float = math.nan) -> None:
        """Fills the outputs with values that no kernel writes: floats with NaN or an infinity."""
        for guarded in self._guarded:
            guarded.poison(self.special, filling)

    def launch(self, bound: Bound, number: int = 1) -> Any:
        """Poisons the outputs, launches and waits; returns what the launch returns.

        `number`: which of several equal launches it is, counted from 1; they find different FILLINGS, so that a result
        that depends on what was there before shows.
        """
        self.poison(FILLINGS[(number - 1) % len(FILLINGS)])
        bound.reset()
        compiled = bound.launch()
        self.timer.synchronize()
        return compiled

    def once_ms(self, bound: Bound) -> float:
        """The latency of one launch, roughly."""
        bound.reset()
        return self.timer.once_ms(bound.launch)

    def check(self, plan: LaunchPlan, config: Config) -> tuple[Check, float]:
        """Checks several launches on each set of inputs, but not for damage; returns also the ms that one takes.

        A config with a wrong output gets fewer, and no further set, unless its output may be the correct one.
        """
        found: list[tuple[str, Errors]] = []
        findings: list[Finding] = []
        sketched: tuple[float, ...] = ()
        repeatable, sums_alone, launches, seeds, once_ms = True, False, 0, 0, math.inf
        for inputs in self.inputs:
            bound = self.bind(plan, inputs)
            self.launch(bound)
            seeds, launches = seeds + 1, launches + 1
            for name, tensor in self._exact.items():
                self.first[name].copy_(tensor)
            off = self.errors(inputs)
            found.append(off)
            correct = self.within(*off)
            self.sums_within = self.all_within(self.unordered_errors(inputs))
            wrote_all = math.isfinite(off[1].relative_error)  # what was not written would differ as the fillings do
            once_ms = min(once_ms, self.once_ms(bound))
            for number in range(2, 1 + (LAUNCHES_PER_SEED if correct or self.against else LAUNCHES_IF_WRONG)):
                with self.timer.under_load(once_ms) if number in UNDER_LOAD else nullcontext():
                    self.launch(bound, number if wrote_all else 1)
                launches += 1
                sums = self.unordered_errors(inputs)
                found += sums
                same = self.all_same()
                if not same or self.all_within(sums) != self.sums_within:
                    repeatable, sums_alone = False, same
                    found.append(self.errors(inputs))
                    break
            if not correct and not findings:
                findings = self.locate(config, inputs, *off)
                if findings[-1].code == "nan":
                    findings[-1] = self._as_computed(bound, findings[-1], off[0])
            if self.against and seeds == 1:
                sketched = self._sketch(inputs)
            if not repeatable or not (correct or self.against):
                break
        check = self.merged(found, repeatable, launches, seeds, findings)
        is_answer = judge(check, self.tolerances)[0] in ("ok", "differs")
        return replace(check, sketch=sketched if is_answer else (), sums_alone=sums_alone), once_ms

    def _as_computed(self, bound: Bound, found: Finding, output: str) -> Finding:
        """The finding of NaN, with whether the kernel computes it: what it never writes holds another filling then.

        Of outputs alone that the kernel only writes, and in which NaN is never correct.
        """
        out = self.outputs[output]
        only_written = self.subject.tensors()[output].role == "out" and out.is_floating_point()
        if not only_written or output in self.special or output not in self.first:
            return found
        try:
            self.launch(bound, 1 + FILLINGS.index(math.inf))
        except Exception:  # it is wrong, and what is wrong with it besides shows when it is timed
            return found
        rows = (as_rows(one).flatten(0, -2) for one in (self.first[output], out))
        computed, left = nan_rows(*rows)
        if computed + left == 0:
            return found
        both = f"computed in {computed} of these rows, and never written in {left}" if computed and left else ""
        return replace(found, message=f"{found.message} ({both or ('computed' if computed else 'never written')})")

    def _sketch(self, inputs: Inputs) -> tuple[float, ...]:
        rows = {name: math.prod(as_rows(one).shape[:-1]) for name, one in inputs.reference.items()}
        return sketch(self.outputs, {name: norm * math.sqrt(rows[name]) for name, norm in inputs.norm_rms.items()})

    def merged(
        self, found: list[tuple[str, Errors]], repeatable: bool, launches: int, seeds: int, findings: Sequence[Finding]
    ) -> Check:
        """The worst of several launches' errors: those of the output that was furthest beyond its tolerance."""
        output, _ = max(found, key=self._excess)
        errors = [errors for name, errors in found if name == output]
        return merge(errors, repeatable, launches, seeds, findings, output if len(self.tolerances) > 1 else "")

    def _excess(self, found: tuple[str, Errors]) -> tuple[bool, float]:
        """How far beyond its tolerance an output is, given its name and errors; NaN, told first, is furthest."""
        name, errors = found
        tolerances = self.tolerances[name]
        shares = (
            share_of(errors.relative_error, tolerances.relative_error),
            share_of(errors.worst_row_error, tolerances.row_error),
        )
        return any(map(math.isnan, shares)), max(shares)

    def damage(self) -> list[Finding]:
        """What was written where nothing may be; it is restored before the next config."""
        found = [damage for guarded in self._guarded if (damage := guarded.damage())]
        self._note_changed()
        changed, self._changed = list(self._changed), {}
        if changed:
            self._held = None
        if stale := self.fingerprints.changed():
            self.stale = True
            changed += [name.rpartition("/")[0] for name in stale]
        if changed:
            names = ", ".join(dict.fromkeys(changed))
            found.insert(0, Finding("input-changed", f"wrote to memory that is not its output: {names}"))
        return found

    def locate(self, config: Config, inputs: Inputs, output: str, errors: Errors) -> list[Finding]:
        """Where an output, off by `errors`, is wrong, and why, if the subject knows."""
        part = None
        if isinstance(self.subject, Diagnosing):
            part = self.subject.cause(config, inputs.tensors, inputs.reference, self.outputs)
        if part and errors.bad_rows > MOST * errors.rows:  # the cause is known, and it is everywhere
            message = f"{share(errors.bad_rows, errors.rows)}; the worst off by {figure(errors.worst_row_error)}"
            return [Finding("partial", part), Finding("everywhere", message)]
        out, reference = as_rows(self.outputs[output]), as_rows(inputs.reference[output])
        params = self.subject.params
        tiles = {param.axis: config.number(param.name) for param in params if param.axis and config[param.name]}
        axes = CUT_AXES if is_cut(self.outputs[output]) else self._axes[output][-out.dim() :]
        axes = (*[Axis("")] * (out.dim() - len(axes)), *axes)  # what `as_rows` added has one index, which is not named
        tolerances, norm, special = self.tolerances[output], inputs.norm_rms[output], output in self.special
        found = locate(out, reference, tolerances, norm, axes, tiles, special=special)
        return [Finding("partial", part), found] if part else [found]

    def first_look(self, latency_ms: float, correct: bool) -> int:
        """How many launches to time right after the check; one if it is not on a GPU."""
        if not self.timer.on_gpu:
            return 1
        return turn_samples(latency_ms) if correct else SAMPLES_IF_WRONG

    def time(self, bound: Bound, name: str, samples: int, latency_ms: float, timed_by: TimedBy | None) -> Batch:
        """Poisons the outputs, then takes a batch of latencies."""
        self.poison()
        return Batch(name, *self.timer.batch(bound.launch, samples, latency_ms, timed_by, bound.reset))
