"""The code of a run's network: the copy in its folder, and whether the user lets it run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.errors import CheckFailedError, UsageError, setting
from cnnkit.events import Warned, emit
from cnnkit.runs.folder import NETWORK_FOLDER, RunFolder
from cnnkit.system.files import explain_os_error, files_below, replace_bytes
from cnnkit.system.trust import (
    call_sha256,
    file_sha256,
    files_sha256,
    is_trusted,
    names_code,
    trust,
)

CHANGED = "restore it, or begin a new run"


@dataclass(frozen=True)
class Trusted:
    """What the user has said about the code of a run.

    Attributes:
        network: `path/to/net.py:FUNCTION` to be taken instead of the copy in the run folder.
        code: whether the code that the run brings may run.
    """

    network: str | None = None
    code: bool = False


def keep_code(
    run: RunFolder,
    spec: str,
    files: Mapping[str, Path],
    arguments: Mapping[str, str],
) -> dict[str, str] | None:
    """Copy the code of a network into the folder of a run, and trust it: the user has named it.

    Args:
        run: the folder.
        spec: `path/to/net.py:FUNCTION`.
        files: the file and those beside it that it imports, by relative name; none for a network
            that is not code.
        arguments: of the function, as texts by name.

    Returns:
        What `run.json` keeps of it, `entry` and `sha256`; None where there is no code.

    Raises:
        UnavailableError: no space, no permission.
    """
    if not files:
        return None
    source, _, function = spec.rpartition(":")
    kept = {name: run.path / NETWORK_FOLDER / name for name in files}
    try:
        for name, path in kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(path, files[name].read_bytes())
    except OSError as error:
        raise explain_os_error(error, f"write {run.path / NETWORK_FOLDER}") from error
    entry, sha256 = f"{Path(source).name}:{function}", files_sha256(kept)
    trust(call_sha256(sha256, entry, arguments), spec)
    return {"entry": entry, "sha256": sha256}


def network_of(
    run: RunFolder,
    description: Mapping[str, Any],
    trusted: Trusted,
    *,
    is_resumed: bool = False,
) -> str:
    """Return how `build_model` finds the network of a run.

    Its code runs only if the user named it, says so, or has it in the list of what is trusted.

    Args:
        run: the folder.
        description: what `run.json` holds.
        trusted: what the user has said.
        is_resumed: the run is to be resumed, and is refused where its code has changed.

    Raises:
        CheckFailedError: the user does not trust the code, or it has changed.
        UsageError: `trusted` names no file of code.
    """
    spec: str = description["setup"]["model"]
    kept: Mapping[str, str] | None = description.get("network")
    folder = run.path / NETWORK_FOLDER
    if trusted.network is not None:
        if not names_code(trusted.network):
            raise UsageError(
                f"{setting('network')} {trusted.network!r} is no FILE.py:FACTORY", "name a file"
            )
        if is_resumed and not _is_code_of(run, description, trusted.network):
            raise CheckFailedError(
                f"{trusted.network} is not the code that the run of {spec} began with", CHANGED
            )
        return trusted.network
    if not names_code(spec):
        return spec
    if kept is None:  # a run of an older cnnkit
        if not trusted.code:
            raise CheckFailedError(
                f"{run.path} has no copy of the code of its network, and names {spec}",
                f"look at that file and add {setting('trust_code')}, or name one with "
                f"{setting('network')} FILE.py:FACTORY",
            )
        now = file_sha256(spec)  # None where it is gone, which is found out when it is run
        found, what = spec, f"the file of {spec}"
        is_changed = now is not None and now != description["setup"].get("model_sha256")
    else:
        found, what = str(folder.absolute() / kept["entry"]), str(folder)
        is_changed = _check_copy(run, description, kept, trusted.code)
    if is_changed and is_resumed:
        raise CheckFailedError(f"{what} has changed since the run began", CHANGED)
    if is_changed:
        emit(Warned(f"{what} has changed since the network was trained"))
    return found


@contextmanager
def described_by(run: RunFolder, spec: str) -> Iterator[None]:
    """Explain what a network refuses as a fault of `run.json`, unless it is code.

    Args:
        run: the folder.
        spec: how `build_model` finds the network.

    Raises:
        CheckFailedError: it refuses its size, its channels or its arguments.
    """
    try:
        yield
    except UsageError as error:
        if names_code(spec):
            raise
        raise CheckFailedError(
            f"{run.path / 'run.json'} is damaged: {error.message}",
            "restore it from a copy, or train again",
        ) from error


def _check_copy(
    run: RunFolder,
    description: Mapping[str, Any],
    kept: Mapping[str, str],
    trust_code: bool,
) -> bool:
    """Return whether the copy in the folder is no longer what the run kept.

    Raises:
        CheckFailedError: it is not, or nobody has said that it may run, and `trust_code` is False.
    """
    folder = run.path / NETWORK_FOLDER
    sha256 = files_sha256({_relative(one, folder): one for one in files_below(folder)})
    is_changed = sha256 != kept["sha256"]
    if trust_code:
        return is_changed
    if is_changed:
        raise CheckFailedError(
            f"{folder} is not what the run kept: a file in it was changed, added or removed",
            f"restore it, or look at it and add {setting('trust_code')}",
        )
    arguments = description["setup"].get("model_arguments", {})
    if not is_trusted(call_sha256(sha256, kept["entry"], arguments)):
        raise CheckFailedError(
            f"{run.path} brings code that you have not trusted: {folder / kept['entry']}",
            f"look at it, then add {setting('trust_code')}",
        )
    return False


def _is_code_of(run: RunFolder, description: Mapping[str, Any], named: str) -> bool:
    """Return whether a file that the user names, with those beside it, is the code of a run."""
    source, _, function = named.rpartition(":")
    path = Path(source).expanduser().resolve()
    kept: Mapping[str, str] | None = description.get("network")
    if kept is None:
        then: str | None = description["setup"].get("model_sha256")
        return then == file_sha256(f"{path}:{function}")
    file, _, its_function = kept["entry"].partition(":")
    folder = run.path / NETWORK_FOLDER
    names = [_relative(one, folder) for one in files_below(folder)]
    there = {name: (path if name == file else path.parent / name).resolve() for name in names}
    return (
        function == its_function
        and all(one.is_file() for one in there.values())
        and files_sha256(there) == kept["sha256"]
    )


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
