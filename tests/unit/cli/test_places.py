"""Where the command line may save: asked before any time is spent."""

import pytest

from var_studio.cli.record import check_place
from var_studio.errors import VarStudioError
from var_studio.recording.locks import ProgramLock, session_lock_path


def test_a_file_that_a_window_has_open_is_refused_before_the_run(tmp_path):
    path = tmp_path / "a.vars"
    path.write_bytes(b"")
    lock = ProgramLock.take(session_lock_path(path), "a window")
    with pytest.raises(VarStudioError, match=r"a\.vars is open in another window"):
        check_place(path, True)
    lock.release()
    check_place(path, True)


def test_a_picture_is_not_replaced_by_a_session(tmp_path):
    picture = tmp_path / "cup.png"
    picture.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(VarStudioError, match=r"cup\.png is no session"):
        check_place(picture, True)
    # Controls: a session of any name, and whatever is called one.
    for name, content in (("a.zip", b"PK\x03\x04"), ("b", b""), ("c.vars", b"old")):
        (tmp_path / name).write_bytes(content)
        check_place(tmp_path / name, True)
