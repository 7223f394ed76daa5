"""Slots, cores and GPUs: handed out once, given back whole, and refused in one clear line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.errors import SalverError
from salver.run.slots import Lease, Slots, gpu_names, physical_cores

ASKED = st.tuples(st.integers(1, 9), st.booleans())


def sysfs(cpus: dict[int, tuple[str, int]]) -> dict[str, str]:
    """Files below /sys from CPU number to (siblings, package)."""
    texts = {}
    for cpu, (siblings, package) in cpus.items():
        folder = f"/sys/devices/system/cpu/cpu{cpu}/topology"
        texts[f"{folder}/thread_siblings_list"] = f"{siblings}\n"
        texts[f"{folder}/physical_package_id"] = f"{package}\n"
    return texts


def cores_of(cpus: dict[int, tuple[str, int]], allowed: list[int] | None = None) -> list[int]:
    texts = sysfs(cpus)

    def read(path: str) -> str:
        if path not in texts:
            raise FileNotFoundError(path)
        return texts[path]

    return physical_cores(list(cpus) if allowed is None else allowed, read)


def test_one_hyperthread_of_each_core() -> None:
    linux = {cpu: (f"{cpu % 4},{cpu % 4 + 4}", 0) for cpu in range(8)}
    assert cores_of(linux) == [0, 1, 2, 3]
    paired = {cpu: (f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}", 0) for cpu in range(8)}
    assert cores_of(paired) == [0, 2, 4, 6]


def test_a_core_counts_by_the_hyperthread_that_may_be_used() -> None:
    cpus = {cpu: (f"{cpu % 4},{cpu % 4 + 4}", 0) for cpu in range(8)}
    assert cores_of(cpus, [1, 5, 6, 7]) == [1, 6, 7]


def test_cores_of_one_package_lie_side_by_side() -> None:
    assert cores_of({cpu: (str(cpu), cpu % 2) for cpu in range(6)}) == [0, 2, 4, 1, 3, 5]


def test_cpus_without_a_topology_are_cores() -> None:
    assert cores_of({}, [3, 1]) == [1, 3]
    assert cores_of({0: ("garbage", 0), 1: ("", 0)}) == [0, 1]


@pytest.mark.slow
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.integers(0, 2 * n - 1), min_size=1))
    )
)
def test_no_two_chosen_cpus_share_a_core(case: tuple[int, set[int]]) -> None:
    count, allowed = case
    cpus = {cpu: (f"{cpu % count},{cpu % count + count}", cpu % count % 2) for cpu in range(2 * count)}
    chosen = cores_of(cpus, sorted(allowed))
    assert set(chosen) <= allowed
    assert {cpu % count for cpu in chosen} == {cpu % count for cpu in allowed}
    assert len(chosen) == len({cpu % count for cpu in chosen})


def test_this_machine_has_cores() -> None:
    assert physical_cores()


@pytest.mark.slow
@given(
    workers=st.integers(1, 6),
    pinned=st.booleans(),
    gpus=st.integers(0, 3),
    steps=st.lists(st.one_of(ASKED, st.integers(0, 20)), max_size=40),
)
@settings(max_examples=200)
def test_nothing_is_handed_out_twice_and_all_comes_back(
    workers: int, pinned: bool, gpus: int, steps: list[tuple[int, bool] | int]
) -> None:
    cores = [10 + 2 * n for n in range(workers)] if pinned else None
    names = [f"GPU-{n}" for n in range(gpus)]
    slots, every = Slots(workers, cores, names), set(cores or range(workers))
    out: list[Lease] = []
    for step in steps:
        used = [slot for taken in out for slot in taken.slots]
        used_gpus = [taken.gpu for taken in out if taken.gpu]
        if isinstance(step, int):
            if out:
                slots.give_back(out.pop(step % len(out)))
            continue
        asked, gpu = step
        taken = slots.take(asked, gpu)
        room = min(asked, workers) <= workers - len(used) and (not gpu or len(used_gpus) < gpus)
        assert (taken is not None) == room
        if taken is not None:
            assert len(taken.slots) == min(asked, workers)
            assert set(taken.slots) <= every - set(used)
            assert (taken.gpu in set(names) - set(used_gpus)) if gpu else taken.gpu == ""
            out.append(taken)
    for taken in out:
        slots.give_back(taken)
    whole = slots.take(workers, gpus > 0)
    assert whole is not None
    assert list(whole.slots) == (cores or list(range(workers)))


def test_neighbours_stay_neighbours() -> None:
    slots = Slots(4, [0, 2, 4, 6])
    first, _, third = (slots.take(1) for _ in range(3))
    assert first is not None
    assert third is not None
    slots.give_back(third)
    slots.give_back(first)
    assert slots.take(2) == Lease((0, 4), pinned=True)


@pytest.mark.parametrize(
    ("workers", "cores", "what"),
    [(0, None, "0 jobs at a time do not fit on this machine"), (3, [0, 1], "3 jobs .* 2 cores")],
)
def test_too_many_workers_are_one_clear_line(workers: int, cores: list[int] | None, what: str) -> None:
    with pytest.raises(SalverError, match=f"{what}.*-j"):
        Slots(workers, cores)


def test_gpus_are_those_that_this_process_was_given() -> None:
    assert gpu_names(2, {}) == ("0", "1")
    assert gpu_names(2, {"CUDA_VISIBLE_DEVICES": "GPU-a, GPU-b"}) == ("GPU-a", "GPU-b")
    assert gpu_names(1, {"CUDA_VISIBLE_DEVICES": "3,5"}) == ("3",)
    assert gpu_names(0, {"CUDA_VISIBLE_DEVICES": ""}) == ()
