"""Folders for compiled code: nobody but their user can write to them, or they are refused."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from minibert import emulator
from minibert.base import private_folders
from minibert.base.private_folders import is_private, private_folder
from minibert.emulator import compiler as emulators
from minibert.emulator import private_folders as of_the_emulator

ROOT = Path(__file__).parents[2]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
OTHER = 54321  # a user id without a name


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_missing_is_created_for_its_user_alone(umask, tmp_path):
    folder = private_folder(tmp_path / "a" / "cache", "kernels", "1")
    assert folder == tmp_path / "a" / "cache" / "kernels" / "1"
    assert {mode(path) for path in (folder, *list(folder.parents)[:3])} == {0o700}
    assert private_folder(tmp_path / "a" / "cache", "kernels", "1") == folder  # again


@pytest.mark.parametrize("given", [0o700, 0o750, 0o755, 0o711])
@pytest.mark.parametrize("name", ["cache", "cache/kernels"])
def test_a_folder_of_ones_own_stays_as_it_is(tmp_path, capsys, given, name):
    (tmp_path / "cache" / "kernels").mkdir(parents=True)
    (tmp_path / name).chmod(given)
    private_folder(tmp_path / "cache", "kernels")
    assert mode(tmp_path / name) == given and capsys.readouterr().err == ""


@pytest.mark.parametrize("given, left", [(0o775, 0o755), (0o770, 0o750), (0o2775, 0o2755)])
@pytest.mark.parametrize("name", ["cache", "cache/kernels"])
def test_a_group_that_could_write_no_longer_can(tmp_path, capsys, given, left, name):
    (tmp_path / "cache" / "kernels").mkdir(parents=True)
    (tmp_path / name).chmod(given)
    private_folder(tmp_path / "cache", "kernels")
    said = capsys.readouterr().err
    assert mode(tmp_path / name) == left and said.count("\n") == 1 and f"the group of {tmp_path / name} could" in said


def test_a_file_system_that_keeps_its_modes(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o775)
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)
    with pytest.raises(ValueError, match="does not let that be changed; set MINIBERT_CACHE"):
        private_folder(tmp_path / "cache")


@pytest.mark.parametrize("given", [0o777, 0o757, 0o1777, 0o707])
@pytest.mark.parametrize("name", ["cache", "cache/kernels"])
def test_a_folder_that_everyone_may_write_to_is_refused(tmp_path, given, name):
    (tmp_path / "cache" / "kernels").mkdir(parents=True)
    (tmp_path / name).chmod(given)
    with pytest.raises(ValueError, match=f"everyone may write to the cache folder {tmp_path / name} .*MINIBERT_CACHE"):
        private_folder(tmp_path / "cache", "kernels")
    assert mode(tmp_path / name) == given


def test_so_is_one_that_everyone_may_replace(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    private_folder(tmp_path / "open" / "cache", "kernels")  # as in /tmp
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ValueError, match=f"everyone may write to {tmp_path / 'open'} "):
        private_folder(tmp_path / "open" / "cache", "kernels")
    (tmp_path / "mine").mkdir()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "open" / "cache")
    for path in (tmp_path / "open" / "link", tmp_path / "link"):  # the link can be replaced; the link's target can be
        with pytest.raises(ValueError, match=f"everyone may write to {tmp_path / 'open'} "):
            private_folder(path)


@AS_ROOT
class TestOfAnotherUser:
    @pytest.mark.parametrize("name", ["cache", "cache/kernels"])
    def test_a_folder_is_refused(self, tmp_path, name):
        (tmp_path / "cache" / "kernels").mkdir(parents=True, mode=0o700)
        os.chown(tmp_path / name, OTHER, OTHER)
        with pytest.raises(ValueError, match=f"the cache folder {tmp_path / name} belongs to user {OTHER}; expected"):
            private_folder(tmp_path / "cache", "kernels")

    def test_so_is_a_link(self, tmp_path):
        (tmp_path / "cache").mkdir(0o700)
        (tmp_path / "link").symlink_to(tmp_path / "cache")
        private_folder(tmp_path / "link" / "cache", "kernels")
        os.chown(tmp_path / "link", OTHER, OTHER, follow_symlinks=False)
        with pytest.raises(ValueError, match=f"the link {tmp_path / 'link'}, .* belongs to user {OTHER}"):
            private_folder(tmp_path / "link" / "cache", "kernels")

    def test_roots_is_fine_if_it_is_read_only(self, tmp_path):
        """Tried by a process of another user's."""
        program = (
            "import os, pwd, sys; from minibert.base.private_folders import private_folder\n"
            f"os.setgroups([]); os.setgid({OTHER}); os.setuid({OTHER})\n"
            "try: print(private_folder(sys.argv[1], 'kernels'))\n"
            "except ValueError as error: print(error)\n"
        )
        for path in (tmp_path, *tmp_path.parents):
            if path.stat().st_uid == os.getuid() and path.is_relative_to(tempfile.gettempdir()):
                path.chmod(path.stat().st_mode | 0o055)
        kernels = tmp_path / "cache" / "kernels"
        kernels.mkdir(parents=True)

        def said():
            command = [sys.executable, "-c", program, str(tmp_path / "cache")]
            done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
            return done.stdout.strip() or done.stderr

        kernels.chmod(0o755)
        assert said() == str(kernels)
        os.chown(kernels, 0, OTHER)
        kernels.chmod(0o775)
        assert f"{kernels} belongs to root, but you and perhaps others may write to it" in said()
        os.chown(kernels, OTHER, OTHER)
        assert said() == str(kernels) and mode(kernels) == 0o755
        os.chown(kernels, 0, 0)
        os.chown(tmp_path / "cache", 1234, 1234)
        assert "belongs to user 1234" in said()


def test_which_files_are_private(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    for given, expected in ((0o600, True), (0o644, True), (0o755, True), (0o664, False), (0o606, False)):
        path.chmod(given)
        assert is_private(path) is expected
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    assert not is_private(tmp_path / "link") and not is_private(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, OTHER, OTHER)
        assert not is_private(path)


def test_where_there_are_no_owners_every_folder_is_accepted(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    monkeypatch.setattr(private_folders, "os", type("Windows", (), {"name": "nt", "path": os.path}))
    assert private_folder(tmp_path / "cache", "kernels") == tmp_path / "cache" / "kernels"
    assert is_private(tmp_path / "cache")


def test_the_emulators_copy_is_the_same():
    paths = [Path(str(module.__file__)) for module in (private_folders, of_the_emulator)]
    assert paths[0].read_text() == paths[1].read_text()


class TestCachesOfKernels:
    def test_numbas(self, tmp_path, monkeypatch):
        from minibert.ops.cpu import compiler

        monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path / "cache"))
        folder = compiler.open_cache()
        assert {mode(path) for path in (folder, *list(folder.parents)[:2])} == {0o700}
        (tmp_path / "cache" / "kernels").chmod(0o777)
        with pytest.raises(ValueError, match="everyone may write to the cache folder"):
            compiler.open_cache()

    @pytest.mark.parametrize("suffix", [".nbi", ".1.nbc"])
    def test_files_that_others_may_write_to_are_not_loaded(self, tmp_path, capsys, suffix, umask):
        from minibert.ops.cpu.cached_files import CheckedFiles, delete_if_damaged

        files = CheckedFiles(str(tmp_path), "kernel", "stamp")
        files.save("key", {"code": bytes(100)})
        assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
        delete_if_damaged(tmp_path)
        assert files.load("key") == {"code": bytes(100)} and capsys.readouterr().err == ""
        (tmp_path / f"kernel{suffix}").chmod(0o664)
        delete_if_damaged(tmp_path)
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"kernel{suffix} is not only yours to write to" in said
        assert files.load("key") is None and mode(tmp_path) == 0o700

    def test_the_emulators(self, tmp_path, monkeypatch, capsys, umask):
        monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(emulators, "forget_old", lambda folder: None)
        compiler = emulators.Compiler(("c++",), "none")
        kept = lambda: emulators.kept("kernels", ".so", lambda _, target: target.write_bytes(b"code"), compiler)  # noqa: E731
        path = kept()
        assert {mode(folder) for folder in (path, *list(path.parents)[:2])} == {0o700}
        assert kept() == path and capsys.readouterr().err == ""
        path.chmod(0o775)
        assert kept() == path and mode(path) == 0o700
        assert capsys.readouterr().err == (
            f"minibert: {path} is not only yours to write to; it was deleted and is compiled again\n"
        )
        emulators.writable_folder.cache_clear()
        path.parent.chmod(0o777)
        with pytest.raises(ValueError, match="everyone may write to the cache folder"):
            kept()

    def test_the_command_line_says_so_in_one_line(self, tmp_path):
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache").chmod(0o777)
        environment = {**os.environ, "MINIBERT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "minibert", "fill", "lessons/model", "a [MASK]"]
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith("minibert: error: everyone may write to the cache folder")

    @pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))
    def test_the_emulator_does_too(self, tmp_path):
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache").chmod(0o777)
        (tmp_path / "program.cu").write_text("int main() { return 0; }")
        environment = {**os.environ, "MINIBERT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "minibert.emulator", "run", str(tmp_path / "program.cu")]
        done = subprocess.run(command, env=environment, text=True, capture_output=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "everyone may write" in done.stderr
