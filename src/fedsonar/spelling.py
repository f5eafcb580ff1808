"""How an experiment is spelled: its sections in one form, and held against the classes that they are for."""

from __future__ import annotations

import inspect
import pkgutil
from abc import ABCMeta
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from fedsonar.errors import ConfigError

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "None"}


def gathered(value: Any) -> Any:
    """The same with a component's arguments in ``init_args`` beside its ``class_path``, wherever they were written.

    Args:
        value: A section, a list of some, or a plain value; stays as it is.

    Raises:
        ConfigError: If ``init_args`` is no section.
    """
    if isinstance(value, list | tuple):
        return [gathered(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    section = {key: gathered(item) for key, item in value.items()}
    arguments = section.pop("init_args", {})
    if not isinstance(arguments, dict):
        raise ConfigError(f"init_args must be a section, got {arguments!r}")
    if "class_path" not in section:
        return section | arguments
    named = section.pop("class_path")
    return {"class_path": named, "init_args": section | arguments}


def check(section: Mapping[str, Any], kind: type, path: str = "") -> None:
    """Returns when a section, in the form that `gathered` gives, names what a class takes, in values of its types.

    Args:
        section: The arguments.
        kind: A dataclass.
        path: Where the section stands.

    Raises:
        ConfigError: Naming the key, and what could stand there.
    """
    taken = {field.name: field for field in fields(kind) if field.init}
    hints = _hints(kind)
    for key, value in section.items():
        if key not in taken:
            where, by = (f"{path}: ", f" by {kind.__name__}") if path else ("", "")
            raise ConfigError(f"{where}{key!r} is not accepted{by}; {_choice(str(key), taken)}")
        if key in hints:
            _check_value(value, hints[key], f"{path}.{key}".lstrip("."), _default(taken[key]))


def check_types(made: Any) -> None:
    """Returns when the fields of a dataclass's instance hold what they are for.

    Raises:
        TypeError: Naming the field, and what it takes.
    """
    kind: type = type(made)
    for name, hint in _hints(kind).items():
        value, options = getattr(made, name), _options(hint)
        if not any(_plainly(value, o) or (isinstance(o, type) and isinstance(value, o)) for o in options):
            wanted = (_words(o) if o in _WORDS or not isinstance(o, type) else o.__name__ for o in options)
            raise TypeError(f"{name} must be {' or '.join(wanted)}, got {value!r}")


def concrete(family: type) -> set[type]:
    """The classes of a family that a configuration can name and that are imported by now."""
    kinds = _descendants(family)
    return {k for k in kinds if not inspect.isabstract(k) and is_dataclass(k) and not k.__name__.startswith("_")}


def _descendants(kind: type) -> set[type]:
    found: set[type] = set()
    children: list[type] = kind.__subclasses__()
    for child in children:
        found |= {child} | _descendants(child)
    return found


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields; none where a plugin's cannot be looked up, so that the parser judges alone."""
    try:
        return get_type_hints(kind)
    except NameError:
        return {}


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _check_value(value: Any, hint: Any, path: str, default: Any = None) -> None:
    options = [option for option in _options(hint) if option is not NoneType]
    kind = next((option for option in options if isinstance(option, type) and _is_part(option)), None)
    items = next((get_args(option)[0] for option in options if _is_many(option)), None)
    if value in (None, "null") and NoneType in _options(hint):  # so may --set say what TOML cannot
        return
    if kind is not None:
        _check_part(value, kind, path, default)
    elif items is not None and isinstance(value, list) and any(map(_is_part, _options(items))):
        for place, item in enumerate(value):
            _check_value(item, items, f"{path}[{place}]")
    elif not any(_plainly(value, option) for option in options) and not _readable(value, hint):
        raise ConfigError(f"{path} must be {' or '.join(map(_words, options))}, got {value!r}")


def _check_part(value: Any, family: type, path: str, default: Any) -> None:
    """Checks what stands where a component or another section belongs."""
    component = isinstance(family, ABCMeta)
    if isinstance(value, str) and component:
        value = {"class_path": value, "init_args": {}}
    if not isinstance(value, Mapping):
        what = "a section with a class_path" if component else "a section"
        there = _listed(_names(family) if component else [f.name for f in fields(family) if f.init])
        raise ConfigError(f"{path} must be {what}, got {value!r}; {there}")
    usual = type(default) if isinstance(default, family) else family
    kind = _named(value["class_path"], family, path) if "class_path" in value else usual
    if inspect.isabstract(kind):
        raise ConfigError(f"{path} needs a class_path; {_listed(_names(family))}")
    if kind is None or not is_dataclass(kind):
        return  # a plugin's own way, which the parser may know
    arguments = value["init_args"] if "class_path" in value else value
    check(arguments, kind, path)
    needed = [f.name for f in fields(kind) if f.init and _default(f) is MISSING and f.name not in arguments]
    if needed and type(default) is not kind:
        raise ConfigError(f"{path}: {kind.__name__} needs {needed[0]}; set {path}.{needed[0]}")


def _named(name: Any, family: type, path: str) -> type | None:
    """The class of a class path; None for what only the parser can make something of."""
    unknown = ConfigError(f"{path}: there is no {family.__name__} {name!r}; {_choice(str(name), _names(family))}")
    if not isinstance(name, str):
        raise unknown
    if "." not in name:
        found = [kind for kind in {family} | _descendants(family) if kind.__name__ == name]
        if not found:
            raise unknown
        return found[0] if len(found) == 1 else None
    try:
        kind = pkgutil.resolve_name(name)
    except ModuleNotFoundError as error:
        looked = "modules are looked for beside the experiment's file (resuming: here) and in PYTHONPATH"
        raise ConfigError(f"{path}: {error}; {looked}") from error
    except (AttributeError, ValueError):
        raise unknown from None
    except Exception as error:  # a plugin's module can fail in any way
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{path}: {name!r} cannot be imported: {said}") from error
    if not isinstance(kind, type):
        return None
    if not issubclass(kind, family):
        raise unknown
    return kind


def _names(family: type) -> list[str]:
    own = {family} if is_dataclass(family) and not inspect.isabstract(family) else set()
    return sorted({kind.__name__ for kind in concrete(family) | own})


def _choice(name: str, known: Iterable[str]) -> str:
    """What could have been meant, and all that there is."""
    known = list(known)
    lower = {word.lower(): word for word in known}
    near = get_close_matches(name.rpartition(".")[2].lower(), lower, n=1)
    return (f"did you mean {lower[near[0]]!r}? " if near else "") + _listed(known)


def _listed(known: Sequence[str]) -> str:
    return f"there {'is' if len(known) == 1 else 'are'} {', '.join(known) or 'none'}"


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_part(option: Any) -> bool:
    """Whether a type is one that a section stands for."""
    return isinstance(option, type) and (is_dataclass(option) or (isinstance(option, ABCMeta) and _ours(option)))


def _ours(kind: type) -> bool:
    """Whether it is a family of components rather than one of Python's own abstract classes."""
    return not kind.__module__.startswith(("collections", "typing", "abc", "numbers", "builtins"))


def _is_many(option: Any) -> bool:
    origin = get_origin(option)
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _plainly(value: Any, option: Any) -> bool:
    """Whether a value is of a type beyond doubt."""
    if get_origin(option) is Literal:
        return value in get_args(option)
    return type(value) is option or (option is float and type(value) is int) or option is Any


def _readable(value: Any, hint: Any) -> bool:
    """Whether the parser reads a value as a type; it takes a text like ``1e-3`` for a number, for example."""
    try:
        _reader(hint).parse_object({"value": value})
    except Exception:  # the parser raises many kinds
        return False
    return True


@cache
def _reader(hint: Any) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    return parser


def _words(option: Any) -> str:
    if get_origin(option) is Literal:
        return f"one of {', '.join(map(repr, get_args(option)))}"
    if get_origin(option) is tuple and Ellipsis not in get_args(option):
        return f"a list of {len(get_args(option))} values"
    if _is_many(option):
        return f"a list of {_WORDS.get(get_args(option)[0], 'values')}"
    return _WORDS.get(option, "a section" if get_origin(option) in (dict, Mapping) else str(option))
