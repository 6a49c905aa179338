"""Folders for compiled code.  Whoever can write to such a folder decides what runs, so only its user may.

The checks are those of Unix: a folder's owner, and its mode.  Windows has neither; there, every folder is accepted.
The emulator, which imports nothing else of minibert, has a copy of this module.
"""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

GROUP, EVERYONE = stat.S_IWGRP, stat.S_IWOTH  # the bits of a mode by which they may write
CURE = "delete it, or set MINIBERT_CACHE to a folder of your own"


def private_folder(root: Path, *inner: str) -> Path:
    """Return the folder root/inner[0]/inner[1]..., in which only this user can write; create what is missing, mode 700.

    A folder of this user's in which its group may write is changed so that it may not, with one line on standard error.
    A folder of root's in which this user may not write is accepted.
    Raises ValueError if one of these folders belongs to somebody else or everyone may write to it, and OSError if one
    cannot be created.
    """
    folder = Path(os.path.abspath(root))
    if os.name != "posix":
        folder.joinpath(*inner).mkdir(parents=True, exist_ok=True)
        return folder.joinpath(*inner)
    for path in (*reversed(folder.parents), folder):
        path.mkdir(0o700, exist_ok=True)
        check_link(path)
    check_parents({*folder.parents, *folder.resolve().parents})
    check(folder)
    for name in inner:
        folder = folder / name
        folder.mkdir(0o700, exist_ok=True)
        check(folder)
    return folder


def check_link(path: Path) -> None:
    """Raise ValueError if a path to the folder is a link of another user's, who could let it point elsewhere."""
    if path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
        raise ValueError(
            f"the link {path}, which leads to the cache folder, belongs to {owner(path.lstat().st_uid)}; expected one "
            f"of your own, because compiled code in the folder is run; {CURE}"
        )


def check_parents(parents: Iterable[Path]) -> None:
    """Raise ValueError if everyone can rename or delete folders in one of these, which contain the cache folder."""
    for parent in sorted(parents):
        mode = parent.stat().st_mode
        if mode & EVERYONE and not mode & stat.S_ISVTX:  # in a sticky folder such as /tmp, only their owners can
            raise ValueError(
                f"everyone may write to {parent} (mode {stat.S_IMODE(mode):o}), and so replace the cache folder in it, "
                "where compiled code is run from; set MINIBERT_CACHE to a folder elsewhere"
            )


def check(folder: Path) -> None:
    """Check the owner and the mode of a folder, as described in private_folder; raises ValueError."""
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise ValueError(
            f"the cache folder {folder} belongs to {owner(status.st_uid)}; expected one of your own, because compiled "
            f"code in it is run; {CURE}"
        )
    if status.st_uid != os.geteuid():  # root's
        if os.access(folder, os.W_OK):
            raise ValueError(
                f"the cache folder {folder} belongs to root, but you and perhaps others may write to it; expected one "
                f"of your own, because compiled code in it is run; {CURE}"
            )
        return
    if status.st_mode & EVERYONE:
        raise ValueError(
            f"everyone may write to the cache folder {folder} (mode {stat.S_IMODE(status.st_mode):o}); expected one in "
            f"which only you can write, because compiled code in it is run; {CURE}"
        )
    if status.st_mode & GROUP:
        folder.chmod(stat.S_IMODE(status.st_mode) & ~GROUP)
        if folder.stat().st_mode & GROUP:
            raise ValueError(
                f"others may write to the cache folder {folder}, and its file system does not let that be changed; "
                "set MINIBERT_CACHE to a folder elsewhere, because compiled code in it is run"
            )
        print(
            f"minibert: the group of {folder} could write to it; now only you can, because compiled code in it is run",
            file=sys.stderr,
            flush=True,
        )


def is_private(path: Path) -> bool:
    """Whether a file, not a link, is this user's and nobody else may write to it; always True on Windows.

    Raises FileNotFoundError if there is no such file.
    """
    if os.name != "posix":
        return True
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & (GROUP | EVERYONE)


def owner(number: int) -> str:
    """The name of a user, or the number if the user has no name."""
    import pwd  # Unix's

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
