"""Keeping one launch: its arguments before the program's launch, and after it what the launch wrote."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from ssdprof.kernels.captured.alike import form
from ssdprof.kernels.captured.live import about, values
from ssdprof.kernels.captured.live.calls import Call, tensors_in
from ssdprof.kernels.captured.live.choosing import OTHERWISE
from ssdprof.kernels.captured.live.options import CaptureOptions
from ssdprof.kernels.captured.live.relaunching import Relaunched, Touched, relaunched, touched_by
from ssdprof.kernels.captured.live.storages import Regions, copy_of, free_bytes, host_bytes, regions_of
from ssdprof.kernels.captured.live.values import CannotKeep
from ssdprof.kernels.captured.model import CapturedLaunch, KeptStorage, KeptTensor
from ssdprof.kernels.captured.source.roles import ELSEWHERE, RoleFound, roles_of
from ssdprof.kernels.captured.source.texts import origin_of, sources_of
from ssdprof.kernels.launch import dtype_name

if TYPE_CHECKING:
    from ssdprof.kernels.captured.file import Writer

COPIES = 4
"""How many copies of what a launch writes are there at once: before, the program's own, a second launch's, a mask."""
_SPARE_BYTES = 1 << 29


class Keeping:
    """A launch that is being kept: `before` the program's launch, then `after`; `abandon` if that failed.

    `like`: the form (`alike.form`) that it must have, if there is one kept already.
    All three raise CannotKeep, with the reason in one line, or what torch and the file raise. The program's memory is
    then as its own launch left it.
    """

    def __init__(self, call: Call, writer: Writer, options: CaptureOptions, number: int, like: str = "") -> None:
        self.call, self.writer, self.options, self.number, self.like = call, writer, options, number, like
        self.notes: list[str] = []
        self.blobs: dict[int, str] = {}
        self.copies: dict[int, torch.Tensor] = {}
        self.statistics: dict[int, str] = {}
        self.home = self.device = torch.device("cpu")
        self._together = ExitStack()

    def before(self) -> None:
        """Says why the launch cannot be kept, or keeps what it finds."""
        self._together.enter_context(self.writer.together())
        try:
            self._before()
        except BaseException as error:
            self._leave(error)
            raise

    def after(self, compiled: Any, grid: Any) -> CapturedLaunch:
        """Keeps what the launch left and what another one writes; gives what is now in the file."""
        try:
            launch = self._after(compiled, values.whole(grid))
            if self.like and form(launch) != self.like:
                raise CannotKeep(OTHERWISE)
            self.writer.add_launch(launch)
        except BaseException as error:
            self._leave(error)
            raise
        self._leave(None)
        return launch

    def abandon(self, error: BaseException) -> None:
        """Forgets what was kept: the program's launch failed."""
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        """Ends what is added together: all of it stays, or with an error nothing."""
        self.copies.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # the program may need that memory outside of torch
        self._together.__exit__(type(error) if error else None, error, None)

    def _before(self) -> None:
        call, arguments = self.call, values.Arguments()
        self.sources = sources_of(call.kernel, call.grid, call.heuristics)
        self.origin = origin_of(call.kernel)
        bound = call.bound()
        self.args = arguments.all_of(call.passed())
        self.tensors, self.used_by = arguments.tensors, arguments.used_by
        if not self.tensors:
            raise CannotKeep("it has no tensors: there is nothing to compare")
        self.launch_options = values.plain(call.options())
        self.compiled = call.launch(compile_only=True)
        if hasattr(self.compiled, "result"):  # compiled by another thread
            self.compiled = self.compiled.result()
        roles = self._roles(bound)
        self.float_atomics = tuple(name for name in call.names if roles and roles[name].float_atomic)
        self.regions, self.touched = self._regions(roles)
        may_be_written = self.touched.regions if self.touched else range(len(self.regions.regions))
        self._keep_before(set(may_be_written))

    def _roles(self, bound: Mapping[str, Any]) -> dict[str, RoleFound] | None:
        """What becomes of each parameter's memory; None if the kernel was not compiled, as in Triton's interpreter."""
        ttir = getattr(self.compiled, "asm", {}).get("ttir")
        if ttir is None:
            return None
        roles = dict(roles_of(ttir, [name for name, value in bound.items() for _ in tensors_in(value)]))
        if elsewhere := roles.pop(ELSEWHERE, None):
            raise CannotKeep(
                f"it reaches memory that is not in its arguments: {elsewhere.unknown or 'addresses as numbers'}"
            )
        self.notes += [
            f"{name} is taken as read and written: {role.unknown}" for name, role in roles.items() if role.unknown
        ]
        return {name: roles.get(name, RoleFound()) for name in self.call.names}

    def _regions(self, roles: Mapping[str, RoleFound] | None) -> tuple[Regions, Touched | None]:
        """The launch's memory: whole storages, or if these are beyond the limit, what its tensors span of them."""
        for whole in (True, False):
            regions = regions_of(self.tensors, whole=whole)
            touched = touched_by(self.tensors, self.used_by, regions, roles) if roles else None
            need = regions.size_bytes + sum(
                regions.regions[one].size_bytes for one in (touched.regions if touched else ())
            )
            if not self.options.data or need <= self.options.limit_bytes:
                if regions.cut_bytes:
                    self.notes.append(f"{regions.cut_bytes} bytes of its storages are left out: no tensor reaches them")
                return regions, touched
        sizes = f"{need / (1 << 30):.1f} GiB and a file may have {self.options.limit_gib:g}"
        raise CannotKeep(f"its memory takes {sizes}: raise the limit, or keep no data")

    def _keep_before(self, may_be_written: set[int]) -> None:
        regions = self.regions.regions
        self.device = self.tensors[0].device
        self._wait()
        need = COPIES * sum(regions[one].size_bytes for one in may_be_written)
        self.home = self.device if need + _SPARE_BYTES <= free_bytes(self.device) else torch.device("cpu")
        if self.home.type == "cpu" and need > about.host_free_bytes():
            raise CannotKeep(
                f"copies of what it writes take {need / (1 << 30):.1f} GiB, more than is free: use less memory"
            )
        for one in sorted(may_be_written):
            self.copies[one] = copy_of(regions[one], self.home)
        if not self.options.data:
            for index, tensor in enumerate(self.tensors):
                if self.touched is None or self.touched.roles[index] != "out":
                    self.statistics[index] = values.statistics_line(index, self.used_by[index][0], tensor)
            return
        for one, region in enumerate(regions):
            self.blobs[one] = self.writer.add_blob(host_bytes(self.copies.get(one, region.data)))

    def _after(self, compiled: Any, grid: tuple[int, ...]) -> CapturedLaunch:
        self._wait()
        done = relaunched(
            self.call,
            self.tensors,
            self.used_by,
            self.regions,
            self.copies,
            self.touched,
            self.home,
            self.float_atomics,
        )
        self.notes += done.notes
        autotune, notes = values.autotune_of(self.call)
        if self.sources.grid_absent:
            notes.append(f"the function of the grid is not kept: {self.sources.grid_absent}")
        if not self.options.data:
            notes.append(
                "no data was kept: values made up after these statistics can give other results than the program's"
            )
            notes += [line for index, line in self.statistics.items() if done.touched.roles[index] != "out"]
        return CapturedLaunch(
            name=self.call.kernel.__name__,
            sources=self.sources,
            origin=self.origin,
            parameters=self.call.names,
            constexprs=self.call.constexprs,
            args=self.args,
            config=values.config_of(self.call, self.args, compiled),
            options=self.launch_options,
            grid=grid,
            tensors=self._kept_tensors(done.touched),
            storages=self._kept_storages(done),
            grids=values.grids_of(self.call),
            autotune=autotune,
            float_atomics=self.float_atomics,
            spreads=done.spreads,
            in_place_ms=done.in_place_ms,
            number=self.number,
            versions=about.versions(),
            device=about.device_facts(self.device),
            notes=(*self.notes, *notes),
        )

    def _kept_tensors(self, touched: Touched) -> tuple[KeptTensor, ...]:
        kept = []
        for tensor, (region, offset), role in zip(self.tensors, self.regions.of, touched.roles, strict=True):
            strides = tuple(int(stride) for stride in tensor.stride())
            kept.append(KeptTensor(region, dtype_name(tensor), tuple(map(int, tensor.shape)), strides, offset, role))
        return tuple(kept)

    def _kept_storages(self, done: Relaunched) -> tuple[KeptStorage, ...]:
        kept = []
        for one, region in enumerate(self.regions.regions):
            after = written = ""
            if self.options.data and one in done.after:
                after = self.writer.add_blob(host_bytes(done.after[one]))
                written = self.writer.add_blob(done.written[one]) if one in done.written else ""
            kept.append(KeptStorage(region.size_bytes, self.blobs.get(one, ""), after, written))
        return tuple(kept)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
