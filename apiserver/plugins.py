"""Finds the plugins that a user names, and says in one line what is the matter when one cannot be loaded.

A plugin is a file (`probes.py`), a module (`acme.probes`) or an entry point in the group `skep.plugins`; what is loaded is the
one plugin value in it, or the one that is named (`probes.py:plugin`). A file is imported under a name of its own, so that it
hides no module; its folder comes last on the import path, so that files beside it can be imported and hide nothing either.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, NoReturn, TypeVar

import msgspec

from apiserver.config import StartError, names_a_file
from registry.declarations import DeclarationError

T = TypeVar("T")

GROUP = "skep.plugins"
OWN = ("actors", "admission", "apiserver", "migrations", "registry", "storage")
"""The import packages of this project. Their names are general, so a user's own folder may hide them."""


class PluginError(StartError):
    """A plugin cannot be loaded. The cause, when there is one, is chained: `--debug` shows it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(" ".join(message.split()), hint, exit_code=2)


class Loaded(msgspec.Struct, Generic[T], frozen=True):
    """A plugin, and the file or module that it came from."""

    value: T
    source: str


def load_plugins(names: Sequence[str], wanted: type[T]) -> list[Loaded[T]]:
    """Loads the plugins in order; one that is named twice is loaded once. `wanted` is the type of a plugin value. PluginError."""
    for own in OWN:  # once imported, no folder beside a plugin can hide them
        importlib.import_module(own)
    loaded: list[Loaded[T]] = []
    for name in names:
        module, attribute, source = _module(name)
        value = _pick(module, attribute, source, wanted)
        if not any(value is other.value for other in loaded):
            loaded.append(Loaded(value, source))
    return loaded


def check_own_packages() -> None:
    """StartError when something hides one of our packages: it names the folder, and what to do."""
    home = Path(__file__).resolve().parent.parent
    for name in OWN:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise StartError(f"Skep's package {name!r} is missing", "install skep again")
        found = Path(spec.origin or next(iter(spec.submodule_search_locations or ("",)))).resolve()
        if found not in (home / name, home / name / "__init__.py"):
            what = found.parent if found.name == "__init__.py" else found
            hint = "start skep from another folder, rename that one, or take it out of PYTHONPATH"
            raise StartError(f"{what} hides Skep's own package {name!r}", hint, exit_code=2)


def _module(name: str) -> tuple[ModuleType, str, str]:
    """The imported module, the attribute that was asked for, and where it is."""
    target, _, attribute = name.partition(":")
    if names_a_file(name):
        return _from_file(Path(target).expanduser().absolute()), attribute, target
    for entry in entry_points(group=GROUP, name=target):
        return _imported(entry.module, name), attribute or entry.attr or "", f"entry point {target} ({entry.value})"
    return _imported(target, name), attribute, target


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise PluginError(f"plugin {path} {what}", "--plugin takes a Python file, a module or an entry point")
    stem = re.sub(r"\W", "_", path.stem)
    name = f"skep_plugin_{stem}"
    number = 1
    while name in sys.modules:
        if getattr(sys.modules[name], "__file__", None) == str(path):
            return sys.modules[name]
        number += 1
        name = f"skep_plugin_{stem}_{number}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin {path} is not a Python file", "its name must end in .py")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there while the module runs
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        _refuse(str(path), error)
    return module


def _imported(module: str, asked: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            known = sorted(entry.name for entry in entry_points(group=GROUP))
            listed = f" (installed entry points: {', '.join(known)})" if known else ""
            hint = f"a file is named with its .py or a slash, as ./{module}.py"
            raise PluginError(f"plugin {asked}: there is no such module or entry point{listed}", hint) from error
        _refuse(asked, error)
    except (Exception, SystemExit) as error:
        _refuse(asked, error)


def _refuse(plugin: str, error: BaseException) -> NoReturn:
    """Turns whatever importing raised into one line with the innermost place in the user's code."""
    if isinstance(error, DeclarationError):
        raise error  # it says where, and what
    if isinstance(error, SyntaxError):
        where, what = f"{error.filename}:{error.lineno}", error.msg
    else:
        where, what = _users_frame(error) or plugin, str(error)
    hint = "start with --debug to see the traceback"
    if isinstance(error, ImportError) and (own := (error.name or "").partition(".")[0]) in OWN:
        hint = f"{own!r} is a package of Skep: if you mean your own, give it another name"
    elif isinstance(error, ModuleNotFoundError):
        hint = f"install {error.name!r} into the environment that skep runs in ({sys.prefix})"
    said = f"{type(error).__name__}: {what}" if what else type(error).__name__
    raise PluginError(f"plugin {plugin}: {where}: {said}", hint) from error


def _users_frame(error: BaseException) -> str | None:
    """`file:line` of the innermost frame that is neither ours, nor the standard library's, nor an installed package's."""
    paths = sysconfig.get_paths()
    foreign = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    own = [str(Path(__file__).resolve().parent.parent / name) for name in OWN]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        inside = any(frame.filename.startswith(folder + "/") for folder in (*foreign, *own))
        if not inside and not frame.filename.startswith("<"):
            return f"{frame.filename}:{frame.lineno}"
    return None


def _pick(module: ModuleType, attribute: str, source: str, wanted: type[T]) -> T:
    """The plugin value of a module. The name `plugin` goes before others, so that a plugin may import another one's."""
    values = {name: value for name, value in vars(module).items() if isinstance(value, wanted)}
    if attribute:
        if attribute not in values:
            raise PluginError(f"plugin {source}: {attribute!r} is not a {wanted.__name__} in it", _names(values, source))
        return values[attribute]
    if "plugin" in values:
        return values["plugin"]
    if not values:
        hint = f'it needs a line like: plugin = {wanted.__name__}("{re.sub(r"[^a-z0-9]+", "-", Path(source).stem.lower())}")'
        raise PluginError(f"plugin {source}: there is no {wanted.__name__} in it", hint)
    if len({id(value) for value in values.values()}) > 1:
        raise PluginError(f"plugin {source}: there are several: {', '.join(values)}", _names(values, source))
    return next(iter(values.values()))


def _names(names: Iterable[str], source: str) -> str:
    listed = [f"{source}:{name}" for name in names]
    return f"name one: {' or '.join(listed)}" if listed else ""
