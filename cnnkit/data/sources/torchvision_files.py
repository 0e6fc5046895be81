"""Makes torchvision download and unpack as cnnkit does: atomically and silently."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

from torchvision.datasets import utils

from cnnkit.data.sources.download import LIMITS, DownloadError, Limits, fetch
from cnnkit.data.sources.unpacking import decompress, unpack

_LOCK = threading.RLock()


class NotDownloadedError(URLError, DownloadError):
    """Raised if a file is unavailable, of the types that make torchvision try a mirror.

    Its release 0.25 does so after a `URLError` only.
    """

    def __str__(self) -> str:
        return str(self.reason)


@dataclass
class FileService:
    """Replacement of torchvision's own file functions while one of its classes runs.

    Attributes:
        allowed: whether anything may be downloaded; existing archives are unpacked either way.
        drive_mirror: address of the files that would be fetched from Google Drive.
        limits: when a download is given up.
        failures: why files were unavailable, in the order of the attempts.
    """

    allowed: bool
    drive_mirror: str = ""
    limits: Limits = LIMITS
    failures: list[str] = field(default_factory=list)

    def download_url(
        self,
        url: str,
        root: str | Path,
        filename: str | Path | None = None,
        md5: str | None = None,
        max_redirect_hops: int = 3,
    ) -> None:
        """Download a file unless it exists.

        Raises:
            NotDownloadedError: it is unavailable.
        """
        path = Path(root).expanduser() / (filename or url.rsplit("/", 1)[-1])
        if utils.check_integrity(path, md5):
            return
        if path.is_file():
            self.failures.append(f"{path} is not the published file (its checksum differs)")
        if not self.allowed:
            self.failures.append(f"{path} is missing, and downloading is disabled")
            raise NotDownloadedError(self.failures[-1])
        try:
            fetch(url, path, md5=md5, limits=self.limits)
        except DownloadError as error:
            self.failures.append(str(error))
            raise NotDownloadedError(str(error)) from error

    def download_from_drive(
        self,
        file_id: str,
        root: str | Path,
        filename: str | Path | None = None,
        md5: str | None = None,
    ) -> None:
        """Download a file of Google Drive from the mirror, unless it exists."""
        name = str(filename or file_id)
        self.download_url(f"{self.drive_mirror}{name}", root, name, md5)

    def extract_archive(
        self,
        from_path: str | Path,
        to_path: str | Path | None = None,
        remove_finished: bool = False,
    ) -> str:
        """Unpack an archive, and remove it if asked to."""
        archive = Path(from_path)
        folder = archive.parent if to_path is None else Path(to_path)
        unpack(archive, folder)
        if remove_finished:
            archive.unlink()
        return str(folder)

    def decompress(self, from_path: str | Path) -> Path:
        """Unpack a single compressed file beside itself."""
        archive = Path(from_path)
        decompress(archive, archive.with_suffix(""))
        return archive.with_suffix("")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let every dataset class of torchvision use these functions; one user at a time."""
        replacements: dict[str, Callable[..., object]] = {
            "download_url": self.download_url,
            "download_file_from_google_drive": self.download_from_drive,
            "extract_archive": self.extract_archive,
            "_decompress": self.decompress,
        }
        with _LOCK:
            originals = {name: getattr(utils, name) for name in replacements}
            # Each module of a dataset has imported some of them under their own names.
            patched = [
                (module, name)
                for module_name, module in list(sys.modules.items())
                if module_name.startswith("torchvision.datasets.")
                for name, original in originals.items()
                if vars(module).get(name) is original
            ]
            for module, name in patched:
                setattr(module, name, replacements[name])
            try:
                yield
            finally:
                for module, name in patched:
                    setattr(module, name, originals[name])
