"""What processes tell each other, as one of them sees it: the others stand in a dictionary."""

import json

import pytest

from t2i_jax.distributed import together
from t2i_jax.distributed.cluster import Cluster
from t2i_jax.errors import Interrupted, UserError


class Store(dict):
    """The coordinator's store, as far as it is used."""

    key_value_set = dict.__setitem__

    def key_value_dir_get(self, prefix):
        return [(key, value) for key, value in self.items() if key.startswith(prefix + "/")]


@pytest.fixture
def process(monkeypatch):
    """Makes this process one of three, beside what others have told."""

    def be(index, **told):
        store = Store({f"t2i/{key}": value for key, value in told.items()})
        monkeypatch.setattr(together, "store", lambda: store)
        together.enter(Cluster(index, 3, "nowhere:1", wait=0.2))
        return store

    yield be
    together.enter(Cluster())


def others(name, *values):
    return {f"gather/{name}/1/{index}": json.dumps(value) for index, value in enumerate(values)}


def test_a_barrier_names_who_is_missing(process):
    process(1, **{"gather/here/1/0": ""})
    with pytest.raises(Interrupted, match="process 2 of 3 did not get to 'here' within 0.2 s"):
        together.gather("here")


def test_every_use_of_a_name_is_one_of_its_own(process):
    process(0, **{"gather/x/1/1": "a", "gather/x/1/2": "b", "gather/x/2/1": "c", "gather/x/2/2": "d"})
    assert together.gather("x", "0") == ["0", "a", "b"] and together.gather("x", "1") == ["1", "c", "d"]


def test_who_differs_is_named_the_same_everywhere(process):
    values = {"seed": 0}, {"seed": 0}, {"seed": 1}
    for index in range(3):
        process(index, **others("config", *values))
        with pytest.raises(UserError, match="config: process 2 of 3 has seed = 1, process 0 has 0; start all alike"):
            together.agree("config", values[index])
    process(1, **others("config", {}, {}, {}))
    together.agree("config", {})


def test_process_0_works_and_the_others_are_told(process):
    store = process(0)
    assert together.told("found", lambda: [1, 2]) == [1, 2]
    process(2, **{key.removeprefix("t2i/"): value for key, value in store.items()})
    assert together.told("found", lambda: pytest.fail("worked")) == [1, 2]


def test_an_error_of_process_0_is_everybodys(process):
    def work():
        raise UserError("data: there are none")

    store = process(0)
    with pytest.raises(UserError, match="there are none"):
        together.told("data", work)
    process(1, **{key.removeprefix("t2i/"): value for key, value in store.items()})
    with pytest.raises(UserError, match="there are none"):
        together.told("data", work)


def test_process_0_goes_first(process):
    order = []
    store = process(0)
    assert together.first("data", lambda: order.append("0") or "mine") == "mine"
    process(1, **{key.removeprefix("t2i/"): value for key, value in store.items()})
    assert together.first("data", lambda: order.append("1") or "theirs") == "theirs"
    assert order == ["0", "1"]


def test_alone_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(together, "store", lambda: pytest.fail("asked"))
    assert together.gather("x", "me") == ["me"] and together.told("x", lambda: 3) == 3
    together.agree("x", {"a": 1})
