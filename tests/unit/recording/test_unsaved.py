import os

import pytest

from tests.synthetic import make_run
from var_studio.recording.content import Content
from var_studio.recording.failures import StorageError
from var_studio.recording.recording import Recording
from var_studio.recording.regions import Region
from var_studio.recording.session import Session, open_session, save_session
from var_studio.recording.unsaved import UnsavedFolder, left_over, windows_folder

SMALL = {"layers": 1, "heads": 1, "rows": 2, "cols": 2, "queries": 2}


def left(*runs_of, **described):
    """A killed window's folder with these runs, made where the first argument's calls say."""
    folder = UnsavedFolder()
    runs = [make(folder) for make in runs_of]
    folder.write(folder.describe(Session(runs, **described)))
    folder.release()
    return folder


def own(seed):
    return lambda folder: make_run(folder.new_run(), seed=seed, **SMALL)


def test_nothing_is_made_before_it_is_needed_and_nothing_stays(private_home):
    folder = UnsavedFolder()
    assert left_over() == [] and not private_home.exists()
    run = make_run(folder.new_run(), **SMALL)
    assert folder.holds(run.path) and left_over() == []
    folder.discard()
    folder.discard()
    assert not windows_folder().exists()


def test_what_holds_no_token_is_removed_and_what_cannot_be_read_is_not(private_home):
    begun = UnsavedFolder()
    begun.new_run().mkdir()
    begun.release()
    damaged = left(own(0))
    (directory,) = [path for path in damaged.folder.iterdir() if path.is_dir()]
    (directory / "zarr.json").write_bytes(b"{")
    assert left_over() == []
    assert not begun.folder.exists() and directory.exists()


def test_runs_of_a_file_new_ones_and_those_from_elsewhere_keep_their_order(tmp_path):
    path = save_session(tmp_path / "a.vars", [make_run(tmp_path / "0", seed=0, **SMALL)])
    regions = {"key": (Region("cup", (1,)),)}
    with open_session(path) as session:
        folder = left(
            own(1),
            lambda _: session.runs[0],
            lambda _: make_run(tmp_path / "2", seed=2, **SMALL),
            notes="n",
            view={"layer": 0},
            regions=regions,
            path=path,
        )
        inside = session.runs[0].id
    (found,) = left_over()
    assert (found.folder, found.n_runs, found.file) == (folder.folder, 1, path)
    taken = UnsavedFolder.take(found.folder)
    recovered = taken.recover()
    runs = list(recovered.session.runs)
    assert recovered.missing == () and [run.in_directory for run in runs] == [True, False, True]
    assert runs[1].id == inside and runs[2].path == tmp_path / "2"
    assert (recovered.session.notes, recovered.session.view) == ("n", {"layer": 0})
    assert recovered.session.regions == regions and recovered.session.path == path
    # The file is gone, and so is the folder elsewhere: the rest comes back, and it is said.
    path.unlink()
    runs[2].discard()
    recovered = taken.recover()
    assert [run.in_directory for run in recovered.session.runs] == [True]
    assert recovered.session.path is None and recovered.session.notes == "n"
    assert len(recovered.missing) == 2 and "no file" in recovered.missing[0]
    taken.discard()
    assert (tmp_path / "0").exists(), "somebody else's recording"


def test_only_regions_of_a_saved_session_are_worth_an_offer(tmp_path):
    path = save_session(tmp_path / "a.vars", [make_run(tmp_path / "0", **SMALL)])
    with open_session(path) as session:
        left(lambda _: session.runs[0], regions={"key": (Region("cup", (1,)),)}, path=path)
    (found,) = left_over()
    assert found.n_runs == 0 and found.file == path


def test_runs_that_came_after_the_document_come_last_and_removed_ones_do_not_come(private_home):
    folder = UnsavedFolder()
    first, second, third = (make_run(folder.new_run(), seed=i, **SMALL) for i in range(3))
    document = folder.describe(Session([second]), removed=[first.path.name])
    folder.write(document)
    folder.release()
    taken = UnsavedFolder.take(folder.folder)
    assert [run.id for run in taken.recover().session.runs] == [second.id, third.id]
    assert left_over() == [], "it is taken"
    taken.discard()


def test_the_same_document_is_not_written_twice(private_home):
    folder = UnsavedFolder()
    session = Session([make_run(folder.new_run(), **SMALL)])
    folder.write(folder.describe(session))
    before = os.stat(folder.folder / "session.json").st_mtime_ns
    folder.write(folder.describe(session))
    assert os.stat(folder.folder / "session.json").st_mtime_ns == before
    session.notes = "changed"
    folder.write(folder.describe(session))
    assert b"changed" in (folder.folder / "session.json").read_bytes()
    assert [path.name for path in folder.folder.glob("*~")] == []
    session.runs[0].discard()
    folder.forget()
    assert not folder.folder.exists()
    folder.discard()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAR_STUDIO_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"Making the folder.*VAR_STUDIO_HOME"):
        UnsavedFolder().new_run()
    assert left_over() == []
    UnsavedFolder().discard()


def test_opening_what_was_offered_reads_where_it_lies(private_home):
    folder = left(own(0), own(1))
    taken = UnsavedFolder.take(folder.folder)
    for run in taken.recover().session.runs:
        assert isinstance(run, Recording) and taken.holds(run.path)
        assert run.attention(0).sum() > 0
    assert UnsavedFolder.take(folder.folder) is None
    taken.release()


def test_what_was_left_out_of_the_file_stays_out_of_the_next_save(tmp_path):
    """The run itself, whole, is still in the window's folder: a plain save must not add it."""
    part, path = Content(maps=True, images=False), tmp_path / "a.vars"
    folder = UnsavedFolder()
    session = Session([make_run(folder.new_run(), **SMALL)])
    save_session(path, session, content=part)
    folder.write(folder.describe(session))
    folder.release()
    recovered = UnsavedFolder.take(folder.folder).recover().session
    assert recovered.content == part and recovered.runs[0].in_directory
    with open_session(save_session(path, recovered)) as again:
        assert again.content == part and again.images == []
        assert not again.runs[0].has_image()


def test_a_document_that_names_no_content_goes_by_its_file(tmp_path):
    part, path = Content(images=False), tmp_path / "a.vars"
    folder = UnsavedFolder()
    session = Session([make_run(folder.new_run(), **SMALL)])
    save_session(path, session, content=part)
    folder.write(folder.describe(session).model_copy(update={"content": None}))
    assert folder.recover().session.content == part
