"""Networks from a user's own file: `path/to/net.py:make_net`."""

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from torch import nn

from cnnkit.errors import NotFoundError, UsageError, setting
from cnnkit.models.arguments import FROM_DATASET, builder_parameters, convert_arguments, takes
from cnnkit.models.description import ModelDescription
from cnnkit.registry import did_you_mean

_FORM = "a network of your own is named path/to/net.py:FUNCTION"

_Stamp = tuple[int, int]  # time of the last change, and size

# A file runs once, unless it or a module beside it was written again since.
_loaded: dict[Path, tuple[_Stamp | None, ModuleType]] = {}
# The modules beside a user's file that it imported, by folder and by name.
_siblings: dict[Path, dict[str, _Stamp | None]] = {}


@dataclass(frozen=True)
class _Factory:
    """A function or class that makes a network.

    Attributes:
        who: `net.py:make_net`, as shown in messages.
        path: of the file, absolute.
        name: in the file.
        make: the function or class.
        parameters: what it takes.
    """

    who: str
    path: Path
    name: str
    make: Callable[..., object]
    parameters: Mapping[str, inspect.Parameter]


def describe_custom(spec: str) -> ModelDescription:
    """Return the description of a user's network from its signature; the file is run for it.

    Raises:
        NotFoundError: the file, or the function in it, does not exist.
        UsageError: the file cannot be used.
    """
    factory = _load_factory(spec)
    return ModelDescription(
        spec=f"{factory.path}:{factory.name}",
        name=factory.name,
        input=None,
        min_size=None,
        fixed_size=None,
        takes_classes=takes(factory.parameters, "num_classes"),
        takes_channels=takes(factory.parameters, "in_channels"),
        takes_size=takes(factory.parameters, "image_size"),
        num_classes=None,
    )


def build_custom(
    spec: str, from_dataset: Mapping[str, object], arguments: Mapping[str, str]
) -> nn.Module:
    """Return the network that a user's function makes.

    Args:
        spec: the file and the function.
        from_dataset: `num_classes`, `in_channels`, `image_size`, each given if it is taken.
        arguments: texts by name, for the rest.

    Raises:
        NotFoundError: the file, or the function in it, does not exist.
        UsageError: the file cannot be used, the arguments do not fit, or no network comes of it.
    """
    factory = _load_factory(spec)
    keywords = convert_arguments(factory.who, factory.parameters, arguments)
    for name, value in from_dataset.items():
        if takes(factory.parameters, name):
            keywords[name] = value
    _check_complete(factory, keywords)
    try:
        with _importing_beside(factory.path):
            network = factory.make(**keywords)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{factory.who} failed: {_describe(error, factory.path)}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"{factory.who} returned {_with_article(type(network).__name__)}, not a torch.nn.Module"
        )
    return network


def imported_files(spec: str) -> dict[str, Path]:
    """Return the file of a network and those beside it that it has imported so far.

    Returns:
        Paths by name relative to the folder, with `/`.

    Raises:
        NotFoundError: the file, or the function in it, does not exist.
        UsageError: the file cannot be used.
    """
    path = _load_factory(spec).path
    files = [path, *filter(None, map(_file_of, _siblings.get(path.parent, ())))]
    return {file.relative_to(path.parent).as_posix(): file for file in files}


def _check_complete(factory: _Factory, keywords: Mapping[str, object]) -> None:
    """Raise UsageError if a required argument of the function is missing."""
    for name, parameter in factory.parameters.items():
        is_optional = parameter.default is not inspect.Parameter.empty or parameter.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )
        if is_optional or name in keywords:
            continue
        if name in FROM_DATASET:
            raise UsageError(
                f"{factory.who} needs {name}, and there is no dataset to take it from",
                f"give {name} a default in {factory.path.name}",
            )
        raise UsageError(
            f"{factory.who} needs an argument {name!r}",
            f"give it with {setting('model_arguments')} {name}=VALUE",
        )


def _load_factory(spec: str) -> _Factory:
    file, _, name = spec.rpartition(":")
    # Without a function, or with a drive's colon only, all of it is the file.
    if not file or name.endswith(".py"):
        file, name = spec, ""
    path = Path(file).expanduser()
    if path.suffix != ".py":
        raise UsageError(f"{file!r} is not a Python file", _FORM)
    if not path.is_file():
        raise NotFoundError(f"no file {file!r}", "check the path")
    if not name:
        raise UsageError(f"{file!r} does not say which function makes the network", _FORM)
    path = path.resolve()
    module = _load_module(path)
    who = f"{path.name}:{name}"
    make = getattr(module, name, None)
    if make is None:
        raise NotFoundError(f"{path.name} has no {name!r}", _callables(module, name))
    if isinstance(make, nn.Module) or not callable(make):
        raise UsageError(
            f"{who} is {_with_article(type(make).__name__)}", "name a function that makes a network"
        )
    return _Factory(who, path, name, make, builder_parameters(make))


def _callables(module: ModuleType, name: str) -> str:
    """Return a hint: which of the functions and classes of the file was perhaps meant."""
    names = [
        one
        for one, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    if not names:
        return "it has neither a function nor a class"
    return did_you_mean(name, names) or f"it has {', '.join(names)}"


def _load_module(path: Path) -> ModuleType:
    """Return the module of a file.

    Raises:
        UsageError: running it fails.
    """
    stamp = _stamp(path)
    known = _loaded.get(path)
    beside = _siblings.get(path.parent, {})
    if any(_stamp(_file_of(name)) != then for name, then in beside.items()):
        _forget(path.parent)
    elif known is not None and known[0] == stamp:
        return known[1]
    # Two files may have the same name, or that of a Python module; the path is unique.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    module_name = f"cnnkit_user_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look it up here
    try:
        with _importing_beside(path):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise UsageError(
            f"{path.name} cannot be imported: {_describe(error, path)}", f"fix {path}"
        ) from error
    _loaded[path] = (stamp, module)
    return module


@contextmanager
def _importing_beside(path: Path) -> Iterator[None]:
    """Let a file import the modules beside it, and not those beside another user's file.

    They stay importable, for what looks them up later, until a file of another folder comes.
    """
    folder = path.parent
    for other in [one for one in _siblings if one != folder]:
        _forget(other)
    importlib.invalidate_caches()
    before = {name.partition(".")[0] for name in sys.modules}
    sys.path.insert(0, str(folder))
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the folder may be
    try:  # that of a run, in which every file counts
        yield
    finally:
        sys.dont_write_bytecode = writes_bytecode
        sys.path.remove(str(folder))
        new = {name for name in sys.modules if name.partition(".")[0] not in before}
        tops = {name for name in new if "." not in name and _lies_in(sys.modules[name], folder)}
        beside = {name for name in new if name.partition(".")[0] in tops}
        found = {name: _stamp(_file_of(name)) for name in beside}
        _siblings[folder] = _siblings.get(folder, {}) | found


def _forget(folder: Path) -> None:
    """Let the modules of a folder be imported again."""
    for name in _siblings.pop(folder):
        sys.modules.pop(name, None)
    for path in [one for one in _loaded if one.parent == folder]:
        del _loaded[path]


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Return whether a module is a file in a folder, or a package with or without `__init__`."""
    file = getattr(module, "__file__", None)
    if file is None:
        return any(Path(one).resolve().parent == folder for one in getattr(module, "__path__", ()))
    return folder in Path(file).parents[:2]


def _file_of(name: str) -> Path | None:
    """Return the file of a module that was imported; None where it has none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return None if file is None else Path(file)


def _stamp(path: Path | None) -> _Stamp | None:
    """Return time and size of a file; None where there is none."""
    if path is None or not path.is_file():
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _describe(error: BaseException, path: Path) -> str:
    """Return the type of an error, its message and its line in the file, on one line."""
    line = None
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line, words = error.lineno, error.msg
    else:
        words = " ".join(str(error).split())
        frames = traceback.extract_tb(error.__traceback__)
        line = next((one.lineno for one in reversed(frames) if one.filename == str(path)), None)
    kind = type(error).__name__
    words = f"{kind}: {words}" if words else kind
    return words if line is None else f"{words} (line {line})"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
