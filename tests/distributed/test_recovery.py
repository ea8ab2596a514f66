"""Two processes train: undisturbed, one killed, one asked to stop; a run goes on with other processes and devices."""

import json
import shutil

import jax
import numpy as np
import processes
import pytest
import toy

from t2i_jax.training import checkpoint


def arrays(workdir):
    jax.config.update("jax_enable_x64", True)  # in the threads that load, too
    try:
        return processes.arrays(workdir, toy.system())
    finally:
        jax.config.update("jax_enable_x64", False)


def same_bits(one, other):
    (mine, about), (theirs, expected) = arrays(one), arrays(other)
    assert about["finished"] and about["next_example"] == expected["next_example"] == 768
    assert mine.keys() == theirs.keys()
    for path in mine:
        np.testing.assert_array_equal(mine[path], theirs[path], err_msg=path)


@pytest.mark.parametrize("victim", [0, 1])
def test_one_is_killed_the_other_says_so_and_both_together_end_in_the_same_bits(victim, whole, tmp_path):
    ended = processes.toy(tmp_path, action=f"kill {victim} 512")
    other = ended[1 - victim]
    assert ended[victim].code == -9 and other.code == 75, other.said
    told = "process 0, the coordinator at 127.0.0.1:" if victim == 0 else "process 1 of 2 has not been heard of for 6 s"
    assert len(other.lines) == 1 and told in other.lines[0] and "run the same command again" in other.lines[0]
    assert arrays(tmp_path)[1]["images"] in (384, 512)  # nothing saved is lost; 512 was being written
    assert [one.code for one in processes.toy(tmp_path)] == [0, 0]
    same_bits(tmp_path, whole)


def test_sigterm_on_one_saves_the_same_step_on_both(whole, tmp_path):
    assert [one.code for one in processes.toy(tmp_path, action="term 1 448")] == [75, 75]
    saved = arrays(tmp_path)[1]["images"]
    assert saved == 512 and not arrays(tmp_path)[1]["finished"]  # the chunk whose report tells both is the last
    drawn = [json.loads((tmp_path / f"drawn-2-{index}.json").read_text()) for index in (0, 1)]
    assert [max(map(int, one)) for one in drawn] == [saved - 64] * 2
    assert [one.code for one in processes.toy(tmp_path)] == [0, 0]
    same_bits(tmp_path, whole)


@pytest.mark.parametrize("count, devices, mesh", [(1, 1, ""), (1, 8, ""), (4, 2, "interleaved")])
def test_a_run_of_two_goes_on_elsewhere_with_the_same_examples(count, devices, mesh, whole, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    for path in checkpoint.committed(workdir / "checkpoints"):
        if int(path.name) > 512:
            checkpoint.remove(path)
    assert [one.code for one in processes.toy(workdir, count, devices, mesh)] == [0] * count
    drawn, expected = by_place(workdir, count), by_place(whole, 2)
    assert drawn == {start: places for start, places in expected.items() if start >= 512}
    (mine, about), (theirs, _) = arrays(workdir), arrays(whole)
    assert about["finished"] and about["next_example"] == 768
    for path in mine:
        assert theirs[path].dtype != np.float32 or "count" in path
        np.testing.assert_allclose(mine[path], theirs[path], rtol=1e-9, atol=1e-9, err_msg=path)


def by_place(workdir, count):
    """{first example of a stack: {place in its first batch: example}} over all processes."""
    whole = {}
    for index in range(count):
        for start, places in json.loads((workdir / f"drawn-{count}-{index}.json").read_text()).items():
            whole.setdefault(int(start), {}).update({int(place): example for place, example in places.items()})
    assert all(sorted(places) == list(range(16)) for places in whole.values())
    return whole
