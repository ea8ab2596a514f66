"""Configs: a Python file with `get_config(arg)`, overridden from the command line, checked, and kept as JSON.

`configs/x.py:tiny` calls `get_config("tiny")`. The file says which keys exist and of which type they are; overrides
(`--config.batch_size=64`) may change values, never add keys. Code reads a section through `section`, which builds a
dataclass or module from it and refuses what it does not know, so that no key of a file is ever silently unused.
"""

import ast
import dataclasses
import difflib
import importlib.util
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ml_collections import ConfigDict

from t2i_jax.errors import UserError

T = TypeVar("T")


def load(spec: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The locked config of `path.py[:arg]` with `--config.key=value` overrides applied.

    Raises UserError for a missing file, a file without `get_config`, an unknown key and a value of the wrong type.
    """
    path, _, arg = spec.partition(":")
    config = read(path, arg)
    for override in overrides:
        apply_override(config, override)
    return config.lock()


def read(path: str | pathlib.Path, arg: str = "") -> ConfigDict:
    """`get_config(arg)` of the file, unlocked; a config file may build on another one's with it. Raises as `load`."""
    if not pathlib.Path(path).is_file():
        raise UserError(f"config: no file {str(path)!r}; give one as --config configs/quickstart.py[:argument]")
    module_spec = importlib.util.spec_from_file_location("t2i_config", path)
    if module_spec is None:
        raise UserError(f"config: {path} is not a Python file (.py)")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        raise UserError(f"config: {path} does not run: {error}") from error
    if not callable(getattr(module, "get_config", None)):
        raise UserError(f"config: {path} defines no function get_config(arg)")
    return module.get_config(arg)


def apply_override(config: ConfigDict, override: str) -> None:
    """Apply one `--config.a.b=value` in place; the value is read as the type that the config file gives the key.

    A whole section is replaced by a Python dictionary: `--config.text='{"kind": "cached", "encoder": "DIR"}'`; what may
    stand in it is known to the code that reads the section.
    """
    key, equals, text = override.removeprefix("--").removeprefix("config.").partition("=")
    if not override.startswith("--config.") or not equals:
        raise UserError(f"unknown argument {override!r}; config values are set as --config.key=value")
    known = list(flatten(config))
    if isinstance(config.get(key), ConfigDict) and text.lstrip().startswith("{"):
        config[key] = ConfigDict(_parse(key, text, {"name": "value"}))
        return
    if key not in known:
        below = [name for name in known if name.startswith(key + ".")]
        close = below or difflib.get_close_matches(key, known, n=3, cutoff=0.5) or sorted(config)
        raise UserError(f"config: unknown key {key!r}; accepted here: {', '.join(close)}")
    *parents, name = key.split(".")
    section_ = config
    for parent in parents:
        section_ = section_[parent]
    section_[name] = _parse(key, text, section_[name])


def _parse(key: str, text: str, current: Any) -> Any:
    if isinstance(current, str):
        return text
    try:
        value = ast.literal_eval(text.capitalize() if text in ("true", "false") else text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(current, float) and type(value) is int:
        value = float(value)
    if isinstance(current, tuple):
        value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if type(value) is not type(current):
        raise UserError(f"config: {key} takes {type(current).__name__}, for example {current!r}; got {text!r}")
    return value


def flatten(config: Mapping, prefix: str = "") -> dict[str, Any]:
    """{"a.b": value} over all leaves, sorted."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def section(config: ConfigDict, key: str, build: Callable[..., T], **given: Any) -> T:
    """`build(**config[key], **given)`, with errors that name the key and what is accepted.

    `build` is a dataclass (linen modules are dataclasses); fields passed as `given` may not stand in the config.
    """
    values = config
    for name in key.split("."):
        if name not in values:
            raise UserError(f"config: section {key!r} is missing")
        values = values[name]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    fields = {field.name: field for field in dataclasses.fields(build) if field.name not in ("parent", "name", *given)}
    for name in values:
        if name not in fields:
            raise UserError(f"config: unknown key {key}.{name}; accepted here: {', '.join(fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UserError(f"config: {key}.{name} is missing")
    return build(**values, **given)


def choice(config: ConfigDict, key: str, builds: Mapping[str, Callable[..., T]], **given: Any) -> T:
    """`section` with one of several things to build: `config[key].kind` names which, the other keys belong to it."""
    if key not in config or "kind" not in config[key]:
        raise UserError(f"config: {key}.kind is missing; accepted: {', '.join(builds)}")
    kind = config[key].kind
    require(kind in builds, f"{key}.kind", kind, ", ".join(builds))
    rest = {name: value for name, value in config[key].items() if name != "kind"}
    return section(ConfigDict({key: rest}), key, builds[kind], **given)


def require(condition: bool, key: str, value: Any, accepted: str) -> None:
    """Refuse an impossible value before anything is compiled."""
    if not condition:
        raise UserError(f"config: {key} = {value!r} is impossible; accepted: {accepted}")


def to_json(config: ConfigDict) -> str:
    """The whole config as JSON text; `from_json` gives an equal config back."""
    return config.to_json_best_effort(indent=2)


def from_json(text: str) -> ConfigDict:
    """The config that `to_json` wrote, lists as tuples, locked."""
    def tuples(value):
        match value:
            case dict():
                return {name: tuples(entry) for name, entry in value.items()}
            case list():
                return tuple(tuples(entry) for entry in value)
        return value

    return ConfigDict(tuples(json.loads(text))).lock()


def differences(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """{key: (old value, new value)} over the keys whose values differ; a missing key reads as None."""
    before, after = flatten(from_json(to_json(old))), flatten(from_json(to_json(new)))
    return {
        key: (before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    }
