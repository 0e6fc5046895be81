"""Zip and tar archives whose image files are read in any order, without unpacking them."""

import os
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from cnnkit.data.image_files import os_reason
from cnnkit.data.image_limits import MAX_FILE_BYTES, BadImageError, too_large
from cnnkit.data.sources.members import BrokenArchiveError, Members, OpenMember, read_zip_member
from cnnkit.system.files import open_regular


@dataclass(frozen=True, slots=True)
class Place:
    """A file in an archive.

    Attributes:
        name: its path in the archive.
        size: in bytes.
        start: where its bytes are in the file that `Archive` reads; its entry in a zip archive.
        reason: why its bytes cannot be read, instead.
    """

    name: str
    size: int
    start: int | zipfile.ZipInfo
    reason: str = ""


@dataclass(eq=False)
class Archive:
    """An archive, and where the files in it are.

    A tar file that is not packed is read in place, and so is a zip archive; what is wanted of
    a packed one (tar.gz and the like) is unpacked once to a file without a name, which is gone
    with this object.

    Args:
        path: of the archive.
        is_wanted: called with the name of every file.
        allow_large: read what is above the limits of `Members` as well.

    Attributes:
        places: the wanted files, in the order of the archive; links that lead to one as well.
        num_others: other files.
        dead_links: names of links that lead to no wanted file of the archive.
        num_folder_links: links that lead to a folder of the archive, and are left out.
        problem: why the archive cannot be read to its end; empty where it can.
    """

    path: Path
    is_wanted: Callable[[str], bool] = field(repr=False)
    allow_large: bool = False
    places: tuple[Place, ...] = ()
    num_others: int = 0
    dead_links: tuple[str, ...] = ()
    num_folder_links: int = 0
    problem: str = ""

    def __post_init__(self) -> None:
        self._handle: int | None = None
        self._zip: zipfile.ZipFile | None = None
        self._zip_lock = threading.Lock()
        found: dict[str, Place] = {}
        members = Members(self.path, self.allow_large)
        try:
            for member in members.read():
                if self.is_wanted(member.name):
                    found[member.name] = self._placed(member)
                else:
                    self.num_others += 1
        except BrokenArchiveError as error:
            self.problem = str(error)
        except OSError as error:
            self.problem = os_reason(error)
        self._follow(members.links(), found)
        self.places = tuple(found.values())

    def _follow(self, links: Mapping[str, str], found: dict[str, Place]) -> None:
        """Add the wanted links that lead to a file that was found, over other links or not."""
        folders = {str(folder) for name in found for folder in PurePosixPath(name).parents}
        dead = []
        for name in links:
            target, passed = links[name], {name}
            while target in links and target not in passed:
                passed.add(target)
                target = links[target]
            if self.is_wanted(name):
                if target in found:
                    place = found[target]
                    found[name] = Place(name, place.size, place.start, place.reason)
                else:
                    dead.append(name)
            elif target in folders:
                self.num_folder_links += 1
            else:
                self.num_others += 1
        self.dead_links = tuple(dead)

    def read(self, place: Place, allow_large: bool = False) -> bytes:
        """Return the bytes of a file; thread-safe.

        Raises:
            BadImageError: they cannot be read, or are too many and `allow_large` is not given.
        """
        if place.reason:
            raise BadImageError(place.reason)
        if place.size > MAX_FILE_BYTES and not (allow_large or self.allow_large):
            raise BadImageError(too_large(f"{place.size:,} bytes", MAX_FILE_BYTES))
        try:
            if isinstance(place.start, zipfile.ZipInfo):
                member = read_zip_member(self._opened_zip(), place.start)
                if member.content is None:
                    raise BadImageError(member.reason)
                return member.content
            content = os.pread(self._opened(), place.size, place.start)
        except BrokenArchiveError as error:
            raise BadImageError(str(error)) from error
        except OSError as error:
            raise BadImageError(os_reason(error)) from error
        except MemoryError as error:
            raise BadImageError("does not fit in memory") from error
        if len(content) < place.size:
            raise BadImageError("the archive is cut short")
        return content

    def _placed(self, member: OpenMember) -> Place:
        if member.start is not None:
            return Place(member.name, member.size, member.start)
        found = member.read()
        if found.content is None:
            return Place(member.name, member.size, 0, found.reason)
        start = os.lseek(self._spool(), 0, os.SEEK_END)
        rest = memoryview(found.content)
        while rest:
            rest = rest[os.write(self._spool(), rest) :]
        return Place(member.name, len(found.content), start)

    def _spool(self) -> int:
        """Return the file that a packed archive is unpacked to."""
        if self._handle is None:
            # not in /tmp, which is often memory
            from platformdirs import user_cache_path

            folder = user_cache_path("cnnkit", appauthor=False)
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix="unpacked-", dir=folder)
            with suppress(OSError):  # Windows keeps the name of what is open
                os.unlink(name)  # noqa: PTH108
            self._keep(handle)
        assert self._handle is not None
        return self._handle

    def _opened(self) -> int:
        if self._handle is None:
            self._keep(open_regular(self.path))
        assert self._handle is not None
        return self._handle

    def _opened_zip(self) -> zipfile.ZipFile:
        with self._zip_lock:
            if self._zip is None:
                raw: IO[bytes] = os.fdopen(open_regular(self.path), "rb")
                weakref.finalize(self, raw.close)
                self._zip = zipfile.ZipFile(raw)
            return self._zip

    def _keep(self, handle: int) -> None:
        self._handle = handle
        weakref.finalize(self, os.close, handle)
