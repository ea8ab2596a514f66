"""What processes tell each other beside arrays: who is there, what process 0 found, whether all mean the same.

All of it goes through the key-value store of JAX's coordinator, touches no device, and may be called from any thread.
Every process makes the same calls in the same order; alone, each returns at once.
"""

import collections
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from t2i_jax.distributed.cluster import Cluster
from t2i_jax.distributed.rendezvous import who
from t2i_jax.errors import Interrupted, UserError

T = TypeVar("T")

_here = Cluster()
_uses: collections.Counter[str] = collections.Counter()


def here() -> Cluster:
    """This process among all that run together."""
    return _here


def enter(cluster: Cluster) -> None:
    """What `here` gives from now on."""
    global _here
    _here = cluster
    _uses.clear()


def store():
    """The key-value store of the coordinator; JAX has no public way to it."""
    from jax._src import distributed

    return distributed.global_state.client


def gather(name: str, value: str = "", seconds: float | None = None) -> list[str]:
    """The `value` of every process, by number: also a barrier.

    Raises Interrupted, saying who is missing, after `seconds`, by default `here().wait`; 0: never, for then only a
    process that is lost ends the waiting.
    """
    if _here.count == 1:
        return [value]
    prefix = _key("gather", name)
    seconds = _here.wait if seconds is None else seconds
    deadline = time.monotonic() + seconds
    store().key_value_set(f"{prefix}/{_here.index}", value)
    pause = 0.01
    while True:
        found = {int(key.rsplit("/", 1)[1]): text for key, text in store().key_value_dir_get(prefix)}
        if len(found) == _here.count:
            return [found[index] for index in range(_here.count)]
        if seconds and time.monotonic() > deadline:
            missing = who(sorted({*range(_here.count)} - {*found}), _here.count)
            raise Interrupted(f"cluster: {missing} did not get to {name!r} within {seconds:g} s of the others; see what "
                              "holds it up and run the same command again")
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


def told(name: str, work: Callable[[], Any]) -> Any:
    """What `work()`, done by process 0 alone, returns: something JSON-able, in every process.

    A UserError of it is raised in every process. Waits as long as the work takes.
    """
    if _here.count == 1:
        return work()
    key = _key("told", name)
    if _here.first:
        try:
            answer = {"value": work()}
        except UserError as error:
            store().key_value_set(f"{key}/answer", json.dumps({"error": str(error)}))
            raise
        store().key_value_set(f"{key}/answer", json.dumps(answer))
        return answer["value"]
    pause = 0.01
    while not (found := store().key_value_dir_get(key)):
        time.sleep(pause)
        pause = min(2 * pause, 0.5)
    answer = json.loads(found[0][1])
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["value"]


def first(name: str, work: Callable[[], T]) -> T:
    """`work()`, done by process 0 before all others do it too: what it writes once, they find.

    Raises as `told`.
    """
    done: list[T] = []
    told(name, lambda: done.append(work()))
    return done[0] if done else work()


def agree(name: str, values: Mapping[str, Any]) -> None:
    """Raise UserError, the same everywhere, naming the process whose JSON-able `values` are not those of process 0."""
    texts = gather(name, json.dumps(values, sort_keys=True))
    wanted = json.loads(texts[0])
    for index, text in enumerate(texts):
        theirs = json.loads(text)
        for key in sorted({*wanted, *theirs}):
            if theirs.get(key) != wanted.get(key):
                raise UserError(f"{name}: process {index} of {len(texts)} has {key} = {theirs.get(key)!r}, process 0 has "
                                f"{wanted.get(key)!r}; start all alike, on the same files")


def _key(kind: str, name: str) -> str:
    _uses[f"{kind}/{name}"] += 1
    return f"t2i/{kind}/{name.replace('/', '_')}/{_uses[f'{kind}/{name}']}"
