"""Launching a kernel again on the memory that it found: what it writes, whether it repeats itself, how long it takes.

Tensors that it writes and never reads are filled first, in one launch with ones and in another with zeros: a byte that
is still the filling after both was not written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch

from ssdprof.kernels.captured.live.calls import Call
from ssdprof.kernels.captured.live.in_place import in_place_ms
from ssdprof.kernels.captured.live.storages import (
    ALL_ONES,
    ALL_ZEROS,
    Region,
    Regions,
    copy_into,
    copy_of,
    fill,
    host_bytes,
    mask_of,
    near,
    same,
    spread,
    view,
    written,
)
from ssdprof.kernels.captured.source.roles import RoleFound
from ssdprof.kernels.errors import first_line
from ssdprof.kernels.launch import Role


@dataclass(frozen=True, slots=True)
class Touched:
    """What a launch does with its memory: the role of each tensor, and the regions that it may write."""

    roles: tuple[Role, ...]
    regions: tuple[int, ...]


@dataclass(slots=True)
class Relaunched:
    """What launching again showed: bytes `after` by region, and packed bits of those that were written, if not all.

    `spreads`: by parameter that sums without an order, how far apart launches left it (`storages.spread`).
    """

    touched: Touched
    after: dict[int, torch.Tensor] = field(default_factory=dict)
    written: dict[int, bytes] = field(default_factory=dict)
    in_place_ms: float | None = None
    spreads: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def touched_by(
    tensors: Sequence[torch.Tensor], used_by: Sequence[Sequence[str]], regions: Regions, found: Mapping[str, RoleFound]
) -> Touched:
    """The tensors' roles from those of the parameters that they are passed for.

    One that shares bytes with a tensor that is read counts as read itself.
    """
    loads, stores = [], []
    for names in used_by:
        loads.append(any(found[name].loads or found[name].unknown for name in names))
        stores.append(any(found[name].stores or found[name].unknown for name in names))
    reads: dict[int, list[int]] = {one: [] for one in range(len(regions.regions))}
    for index, (region, _) in enumerate(regions.of):
        if loads[index]:
            reads[region].append(index)
    roles: list[Role] = []
    for index, (region, offset) in enumerate(regions.of):
        if not stores[index]:
            roles.append("in")
            continue
        shared = loads[index]
        others = [(tensors[one], regions.of[one][1]) for one in reads[region] if near(tensors[one], tensors[index])]
        if not shared and others:
            mask = mask_of(regions.regions[region], others, tensors[index].device)
            shared = bool((view(mask, tensors[index], offset) != 0).any())
        roles.append("in-out" if shared else "out")
    return Touched(tuple(roles), _written_regions(roles, regions))


def _written_regions(roles: Sequence[Role], regions: Regions) -> tuple[int, ...]:
    return tuple(sorted({one for role, (one, _) in zip(roles, regions.of, strict=True) if role != "in"}))


def relaunched(
    call: Call,
    tensors: Sequence[torch.Tensor],
    used_by: Sequence[Sequence[str]],
    regions: Regions,
    before: Mapping[int, torch.Tensor],
    touched: Touched | None,
    home: torch.device,
    summed: Collection[str] = (),
) -> Relaunched:
    """Launches again, the program's launch being over, and leaves memory as that one left it.

    `before`: the bytes that the launch found, of the regions that it may write. `touched`: what it does with them;
    None: it is found out by filling. `summed`: the parameters to which it adds floats atomically. If launching again
    fails, the program's own bytes are `after`, and a note says so.
    """
    device = tensors[0].device
    own = {one: copy_of(regions.regions[one], home) for one in before}
    one_launch = _OneLaunch(call, tensors, regions, before, own, home, device)
    try:
        known = one_launch.guessed() if touched is None else touched
        done = Relaunched(known, {one: own[one] for one in known.regions})
        try:
            one_launch.written_by(done, used_by)
        except Exception as error:  # whatever goes wrong here, the program goes on with its own bytes
            done = Relaunched(known, {one: own[one] for one in known.regions})
            done.notes.append(f"it was not launched a second time: {first_line(f'{type(error).__name__}: {error}')}")
        else:
            if device.type == "cuda":
                done.in_place_ms, note = one_launch.timed(known)
                done.notes += [note] if note else []
            with suppress(Exception):  # less is known then of how far sums may be apart
                done.spreads = one_launch.spreads(done, used_by, summed)
        return done
    finally:
        for one, data in own.items():
            copy_into(regions.regions[one].data, data)
        one_launch.wait()


@dataclass(slots=True)
class _OneLaunch:
    """Launches of the kernel on the memory that the program's launch found."""

    call: Call
    tensors: Sequence[torch.Tensor]
    regions: Regions
    before: Mapping[int, torch.Tensor]
    own: Mapping[int, torch.Tensor]
    home: torch.device
    device: torch.device

    def region(self, one: int) -> Region:
        """The region of that number."""
        return self.regions.regions[one]

    def wait(self) -> None:
        """Waits for the GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def launch(self, poison: Mapping[int, torch.Tensor], value: int) -> None:
        """One launch on the bytes from before, with `value` where the masks have ones."""
        for one, data in self.before.items():
            copy_into(self.region(one).data, data)
        for one, mask in poison.items():
            fill(self.region(one), mask, value)
        self.call.launch()
        self.wait()

    def masks(self, roles: Sequence[Role], role: Role) -> dict[int, torch.Tensor]:
        """For each region that may be written, ones where tensors of that role lie."""
        lie: dict[int, list[tuple[torch.Tensor, int]]] = {one: [] for one in self.before}
        for tensor, (one, offset), has in zip(self.tensors, self.regions.of, roles, strict=True):
            if has == role and one in lie:
                lie[one].append((tensor, offset))
        return {one: mask_of(self.region(one), several, self.home) for one, several in lie.items()}

    def guessed(self) -> Touched:
        """Roles by experiment. A tensor of floats is written if bytes come out that were not filled in, and not read if
        nothing else depends on the filling; of others, whose filling could be an address, it is whether bytes changed.
        """
        roles: list[Role] = ["in"] * len(self.tensors)
        for index, tensor in enumerate(self.tensors):
            if not tensor.numel():
                continue
            one, offset = self.regions.of[index]
            mask = mask_of(self.region(one), [(tensor, offset)], self.home)
            if bool(((self.before[one] != self.own[one]) & (mask != 0)).any()):
                roles[index] = "in-out"
            if tensor.dtype.is_floating_point:
                with suppress(Exception):
                    found = self.role_by_filling(one, mask)
                    roles[index] = roles[index] if found == "in" else found
        return Touched(tuple(roles), _written_regions(roles, self.regions))

    def role_by_filling(self, filled: int, mask: torch.Tensor) -> Role:
        """The role of the tensor of region `filled` that lies where the mask has ones."""
        self.launch({filled: mask}, ALL_ONES)
        after = {one: copy_of(self.region(one), self.home) for one in self.own}
        self.launch({filled: mask}, ALL_ZEROS)
        nothing = torch.zeros_like(mask)
        changed, agree = written(self.region(filled), self.before[filled], mask, after[filled], nothing)
        if not bool((changed & (mask != 0)).any()):
            return "in"
        return "out" if agree and all(same(after[one], own) for one, own in self.own.items()) else "in-out"

    def written_by(self, done: Relaunched, used_by: Sequence[Sequence[str]]) -> None:
        """Finds out which bytes are written, and what they are."""
        roles = done.touched.roles
        poison, certain = self.masks(roles, "out"), self.masks(roles, "in-out")
        # A byte that an in-out tensor has too is not to be filled: it is read.
        poison = {one: mask & ~certain[one] for one, mask in poison.items() if one in done.touched.regions}
        self.launch(poison, ALL_ONES)
        after = {one: copy_of(self.region(one), self.home) for one in done.touched.regions}
        self.launch(poison, ALL_ZEROS)
        differ = []
        for one in done.touched.regions:
            mask, agree = written(self.region(one), self.before[one], poison[one], after[one], certain[one])
            if not torch.equal(mask, (poison[one] | certain[one]) != 0):
                done.written[one] = np.packbits(np.frombuffer(host_bytes(mask.to(torch.uint8)), np.uint8)).tobytes()
            done.after[one] = after[one]
            if not agree or not same(after[one], self.own[one]):
                places = (index for index, (region, _) in enumerate(self.regions.of) if region == one)
                differ += [name for index in places if roles[index] != "in" for name in used_by[index]]
        if differ:
            done.notes.append(f"launches on the same data gave different bits: {', '.join(dict.fromkeys(differ))}")

    def timed(self, touched: Touched) -> tuple[float | None, str]:
        """Median latency of launches in ms, and a note; what they read and write is put back before each."""
        reads = {one for role, (one, _) in zip(touched.roles, self.regions.of, strict=True) if role == "in-out"}
        restored = sorted(reads & self.before.keys())

        def restore() -> None:
            for one in restored:
                copy_into(self.region(one).data, self.before[one])

        waits = any(self.before[one].device.type == "cpu" for one in restored)
        return in_place_ms(self.call.launch, restore, self.device, waits=waits)

    def spreads(self, done: Relaunched, used_by: Sequence[Sequence[str]], summed: Collection[str]) -> dict[str, float]:
        """How far apart launches leave each of these parameters' tensors: the program's, the first, and the last one.

        The last one found L2 flushed, as launches of a sweep do, and so may have summed in quite another order.
        """
        found: dict[str, float] = {}
        for tensor, (one, offset), names in zip(self.tensors, self.regions.of, used_by, strict=True):
            for name in set(names) & set(summed) if tensor.dtype.is_floating_point and tensor.numel() else ():
                others = (self.own[one], self.region(one).data)
                found[name] = max(spread(done.after[one], other, tensor, offset) for other in others)
        return found
