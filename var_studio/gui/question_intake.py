"""From files, drops, the clipboard and samples to a question; from a question to runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import QBuffer, QIODevice, QMimeData, QObject, Slot
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QFileDialog

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.gui.models.question import Sample
from var_studio.gui.models.run_controller import RunRequest
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.widgets.image_well import dropped_files

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow
    from var_studio.recording.images import ImageSource

_IMAGES = "Images (*.png *.jpg *.jpeg *.webp *.bmp *.gif *.tif *.tiff);;All files (*)"


class QuestionError(VarStudioError):
    """The question is not complete yet."""


class QuestionIntake(QObject):
    """Takes pictures and files for the window; a bad one leaves everything as it was."""

    def __init__(self, window: MainWindow, workspace: Workspace) -> None:
        super().__init__(window)
        self._window = window
        self._workspace = workspace

    # ------------------------------------------------------------------------------- pictures
    @Slot()
    def open_image(self) -> None:
        """Choose an image file."""
        path, _ = QFileDialog.getOpenFileName(
            self._window, "Open an image", memory.last_folder("image"), _IMAGES
        )
        if path:
            memory.remember_folder("image", path)
            self._take_file(Path(path))

    @Slot()
    def paste_image(self) -> None:
        """Take the image, or the image file, on the clipboard."""
        mime = QGuiApplication.clipboard().mimeData()
        if mime is None or not self.take_drop(mime):
            self._window.show_problem(
                QuestionError(
                    "There is no image on the clipboard.", "Copy a picture first, or open a file."
                )
            )

    def take_image(self, source: ImageSource, name: str = "") -> bool:
        """Ask about this image from now on. False, with a notice, if it cannot be read."""
        from var_studio.recording.images import load_image

        try:
            image = load_image(source, name)
        except VarStudioError as error:
            self._window.show_problem(error)
            return False
        self._workspace.question.set_image(image)
        self._window.setup.show_sample_note(image.note)
        return True

    @Slot(object)
    def take_sample(self, sample: Sample) -> None:
        """Ask about a picture that ships with VAR Studio, with the first of its questions."""
        if not self.take_image(sample.path):
            return
        question = self._workspace.question
        question.set_image(question.image, sample.questions)
        self._window.setup.show_sample_note(sample.note)
        if sample.questions:
            question.set_prompt(sample.questions[0])

    @Slot(object)
    def take_pixels(self, pixels: object) -> None:
        """Take a QImage, or what a drop gives for one."""
        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        image = pixels if isinstance(pixels, QImage) else QImage(cast(Any, pixels))
        image.save(buffer, "PNG")  # type: ignore[call-overload]
        self.take_image(bytes(buffer.data().data()), "pasted image.png")

    @Slot(list)
    def take_files(self, paths: list[Path]) -> None:
        """Take the first file: a session, a recording, a model folder, an image."""
        for path in paths[:1]:
            if path.is_dir():
                if (path / "zarr.json").exists():
                    self._window.files.open_run_folder(path)
                else:
                    self._window.load_model(str(path))
            elif path.suffix.lower() == ".vars":
                self._window.files.open(path)
            else:
                self._take_file(path)

    def _take_file(self, path: Path) -> None:
        if self.take_image(path):
            memory.remember_recent("images", str(path.absolute()))

    def take_drop(self, mime: QMimeData) -> bool:
        """Take what was dropped or copied. False if there is nothing in it for us."""
        files = dropped_files(mime)
        if files:
            self.take_files(files)
        elif mime.hasImage():
            self.take_pixels(mime.imageData())
        else:
            return False
        return True

    # ----------------------------------------------------------------------------------- runs
    def requests(self, *, with_var: bool) -> list[RunRequest]:
        """The runs that answer the present question; none, with a notice, if it is incomplete.

        With VAR the baseline comes first, unless it is on screen already.
        """
        question = self._workspace.question
        if question.image is None:
            self._window.show_problem(
                QuestionError(
                    "There is no image to ask about.",
                    "Open, drop or paste one in Setup, or choose a sample.",
                )
            )
            return []
        if not question.prompt.strip():
            self._window.show_problem(
                QuestionError("The question is empty.", "Type one in Setup, then press Run.")
            )
            self._window.setup.prompt.setFocus()
            return []
        image, prompt = question.image, question.prompt.strip()
        generation = self._workspace.generation.stored
        baseline = RunRequest(image, prompt, generation, None, "baseline")
        if not with_var:
            return [baseline]
        settings = self._workspace.method.current
        var = RunRequest(image, prompt, generation, settings, "with VAR")
        return [var] if self._has_baseline(baseline) else [baseline, var]

    def _has_baseline(self, wanted: RunRequest) -> bool:
        """Whether the run on screen already is this model's whole answer to this question."""
        run, model = self._workspace.baseline, self._window.controller.model
        return (
            run is not None
            and run.reason in ("end", "length")
            and run.generation == wanted.generation
            and [e.sha256 for e in run.image_entries] == [wanted.image.sha256]
            and run.provenance.get("prompt") == wanted.prompt
            and model is not None
            and run.provenance.get("checkpoint") == model.checkpoint
        )
