"""Names of files and folders that stand in other files: accepted only if they lead nowhere else, on any system."""

from pathlib import PurePosixPath, PureWindowsPath


def is_file_name(name: object) -> bool:
    r"""Whether this is the name of a file within a folder, without any path.

    >>> [is_file_name(name) for name in ("model-1.safetensors", "../a", "/a", "a/b", r"a\b", "C:a", "..", "", 1)]
    [True, False, False, False, False, False, False, False, False]
    """
    if not isinstance(name, str) or name in ("", ".", "..") or "\0" in name:
        return False
    return PurePosixPath(name).name == name == PureWindowsPath(name).name


def is_inner_path(path: object) -> bool:
    r"""Whether this is a path with slashes to a folder itself ("") or to one within it.

    >>> [is_inner_path(path) for path in ("", "1_Pooling", "a/b", "../a", "a/../../b", "/a", r"a\b", "C:/a", None)]
    [True, True, True, False, False, False, False, False, False]
    """
    if path in ("", "."):
        return True
    return isinstance(path, str) and all(map(is_file_name, path.rstrip("/").split("/")))
