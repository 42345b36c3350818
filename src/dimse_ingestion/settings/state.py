"""The default folders for files that must survive cleaners of temporary files.

systemd-tmpfiles and cron jobs delete old files below /tmp and /var/tmp, so no default is there.
Settings can name another folder.
"""

import os
from pathlib import Path

_SYSTEM = Path("/var/lib/dimse")


def state_directory(name: str) -> Path:
    """Return the default folder `name`, which may not exist yet.

    It is below systemd's StateDirectory= if there is one, else below /var/lib/dimse for whoever
    may write there, else below the user's own state folder (XDG Base Directory Specification).
    """
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0]) / name
    if _is_writable(_SYSTEM):
        return _SYSTEM / name
    return _user_state() / "dimse" / name


def _is_writable(directory: Path) -> bool:
    existing = directory if directory.exists() else directory.parent
    return os.access(existing, os.W_OK | os.X_OK)


def _user_state() -> Path:
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    if given.is_absolute():
        return given
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path raises for a user without a home
    return home / ".local" / "state" if home.is_absolute() else _SYSTEM.parent
