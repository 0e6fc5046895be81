"""Code of networks, and whose word makes it run: the user's own list of what is trusted."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path, PurePath

from cnnkit.errors import CheckFailedError, CnnkitError, setting
from cnnkit.events import Warned, emit
from cnnkit.system.files import explain_os_error, read_plain, replacing
from cnnkit.system.locks import waiting_lock

SCHEMA = "cnnkit.trusted/1"
MAX_LIST_BYTES = 16 * 2**20
MAX_CODE_BYTES = 64 * 2**20  # of all files of a network together
DIGEST = re.compile(r"[0-9a-f]{64}")
TIMM = "timm:"


def names_code(spec: str) -> bool:
    """Return whether a network is named by a file of code, as in `path/to/net.py:FUNCTION`."""
    if spec.startswith(TIMM):
        return False
    return ":" in spec or spec.endswith(".py") or len(PurePath(spec).parts) > 1


def check_named(spec: str, where: str, trust_code: bool) -> None:
    """Refuse a network whose code is named by a file of settings, and not by the user.

    Args:
        spec: the network.
        where: what names it, such as `the file mine.toml`.
        trust_code: whether the user has said that it may run.

    Raises:
        CheckFailedError: it is code, and the user has not.
    """
    if names_code(spec) and not trust_code:
        raise CheckFailedError(
            f"{where} names code, {spec}, which runs only if you say so",
            f"look at the file, then name it in the command, or add {setting('trust_code')}",
        )


def file_sha256(spec: str) -> str | None:
    """Return the SHA-256 of the file that a network is named by; None without such a file."""
    path = Path(spec.rpartition(":")[0])
    if not names_code(spec) or path.suffix != ".py" or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_sha256(files: Mapping[str, Path]) -> str:
    """Return one SHA-256 over the relative names and the contents of files.

    Raises:
        CheckFailedError: one of them is no regular file, or they are too large for code.
        NotFoundError, UnavailableError: one of them cannot be read.
    """
    left = MAX_CODE_BYTES
    digests = {}
    for name in sorted(files):
        content = read_plain(files[name], left)
        left -= len(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return _sha256(digests)


def call_sha256(files: str, entry: str, arguments: Mapping[str, str]) -> str:
    """Return the SHA-256 that is trusted: of files, and of how the network is made from them.

    Another function of the same files, or other arguments, could do what the user did not intend.

    Args:
        files: what `files_sha256` returned.
        entry: `net.py:FUNCTION`.
        arguments: of the function, as texts by name.
    """
    return _sha256({"files": files, "entry": entry, "arguments": dict(arguments)})


def is_trusted(sha256: str) -> bool:
    """Return whether a SHA-256 is in this user's list; a damaged list is an empty one."""
    return sha256 in _read()


def trust(sha256: str, origin: str) -> None:
    """Add a SHA-256 to this user's list, with where the code is from.

    A warning says so where the list cannot be written.
    """
    path = _list_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with waiting_lock(path.with_suffix(".lock")):
            known = _read()
            if sha256 not in known:
                content = {"schema": SCHEMA, "sha256": {**known, sha256: origin}}
                with replacing(path, mode=0o600) as temporary:
                    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except (OSError, CnnkitError) as error:
        reason = explain_os_error(error, f"write {path}") if isinstance(error, OSError) else error
        emit(
            Warned(
                f"{reason.message}; so cnnkit does not remember that you trust this network's "
                f"code, and its run needs {setting('trust_code')}"
            )
        )


def _list_path() -> Path:
    from platformdirs import user_state_path

    return user_state_path("cnnkit") / "trusted.json"


def _read() -> dict[str, str]:
    """Return the list: where the code is from, by SHA-256."""
    path = _list_path()
    try:
        if not path.exists():
            return {}
        plain = json.loads(read_plain(path.resolve(), MAX_LIST_BYTES))
        known: dict[str, str] = plain["sha256"]
        is_list = plain["schema"] == SCHEMA and all(
            DIGEST.fullmatch(sha256) and isinstance(origin, str) for sha256, origin in known.items()
        )
        is_private = os.name == "nt" or not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error) if isinstance(error, OSError) else "it is damaged"
    except CnnkitError as error:
        reason = error.message
    else:
        if is_list and is_private:
            return known
        reason = "it is damaged" if is_private else "others may write to it"
    emit(Warned(f"{path}, your list of trusted code, is not used: {reason}; remove it"))
    return {}


def _sha256(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of content as JSON, in which nothing can be shifted between names."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
