"""From files, drops, the clipboard and samples to a question; from a question to runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from PySide6.QtCore import QBuffer, QIODevice, QMimeData, QObject, Slot
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QFileDialog

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.gui.models.question import Sample
from var_studio.gui.models.requests import RunRequest
from var_studio.gui.models.workspace import Workspace, is_whole
from var_studio.gui.widgets.image_well import dropped_files

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow
    from var_studio.recording.images import ImageSource, StoredImage
    from var_studio.recording.layout import VisualLayout
    from var_studio.recording.recording import Recording
    from var_studio.recording.settings import Interventions

What = Literal["baseline", "changed", "pair"]
"""The question as it is; with the interventions; both, and the first answer scored under them."""

_NO_QUESTION = "The question is empty."
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
        """Choose image files; they take the place of the present ones."""
        self.take_images(self._choose(), add=False)

    @Slot()
    def add_image(self) -> None:
        """Choose image files to ask about beside the present ones."""
        self.take_images(self._choose(), add=True)

    def _choose(self) -> list[str]:
        paths, _ = QFileDialog.getOpenFileNames(
            self._window, "Open images", memory.last_folder("image"), _IMAGES
        )
        if paths:
            memory.remember_folder("image", paths[0])
        return paths

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
        self._window.notices.clear("error")  # what was wrong with the last one
        image = self._read(source, name)
        if image is not None:
            self._workspace.question.set_image(image)
            self._window.setup.show_sample_note(image.note)
        return image is not None

    def take_images(self, paths: Sequence[str | Path], *, add: bool) -> None:
        """Ask about these images, in place of the present ones or beside them."""
        self._window.notices.clear("error")
        read = []
        for path in paths:
            image = self._read(path)
            if image is not None:
                read.append(image)
                memory.remember_recent("images", str(Path(path).absolute()))
        question = self._workspace.question
        if read:
            self._window.setup.show_sample_note(" ".join(i.note for i in read if i.note))
            if add:
                question.add_images(read)
            else:
                question.set_images(read)
            if question.each:
                self._window.status.say(
                    f"Each of the {len(question.images)} images gets a run of its own; Setup can "
                    "ask about them together"
                )

    def _read(self, source: ImageSource, name: str = "") -> StoredImage | None:
        from var_studio.recording.images import load_image

        try:
            return load_image(source, name)
        except VarStudioError as error:
            self._window.show_problem(error)
            return None

    @Slot(object)
    def take_sample(self, sample: Sample) -> None:
        """Ask about a picture that ships with VAR Studio, with the first of its questions."""
        image = self._read(sample.path)
        if image is not None:
            prompt = sample.questions[0] if sample.questions else None
            self._workspace.question.set_images([image], sample.questions, prompt)
            self._window.setup.show_sample_note(sample.note)

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
        """Take a session, a recording, a model folder; or images, all of them."""
        alone = [path for path in paths if path.is_dir() or path.suffix.lower() == ".vars"]
        if not alone:
            if paths:
                self.take_images(paths, add=False)
            return
        first = alone[0]
        if not first.is_dir():
            taken = self._window.files.open(first)
        elif (first / "zarr.json").exists():
            taken = self._window.files.open_run_folder(first)
        else:
            self._window.load_model(str(first))
            taken = True
        left = ", ".join(path.name for path in paths if path is not first)
        if taken and left:
            self._window.notices.show_notice(
                "note",
                f"Opened {first.name} alone: a window takes one session or folder at a time.",
                f"Not opened: {left}. Open each in a window of its own.",
            )

    @Slot(list)
    def add_files(self, paths: list[Path]) -> None:
        """Take images beside the present ones."""
        self.take_images(paths, add=True)

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
    @Slot()
    def follow_up(self) -> None:
        """Ask on, after the answer on screen, about its images."""
        run = self._workspace.run
        if run is None or not run.finished or not run.text.strip():
            self._window.show_problem(
                QuestionError(
                    "There is no answer on screen that a question could follow.",
                    "Ask a question first, and wait for its answer.",
                )
            )
            return
        try:
            images = [run.stored_image(index) for index in range(len(run.image_entries))]
        except VarStudioError as error:
            self._window.show_problem(error)
            return
        self._workspace.question.follow_up(images, run.exchanges)
        self._window.setup.prompt.setFocus()

    def requests(self, what: What) -> list[RunRequest]:
        """The runs that answer the present question; none, with a notice, if it is incomplete.

        Images that are asked about one by one come one after another. With interventions the
        baseline comes first, unless it is there or asked for already; of a pair, the baseline's
        answer scored under them comes last.
        """
        try:
            return self._requests(what)
        except VarStudioError as error:
            self._window.show_problem(error)
            if error.what == _NO_QUESTION:
                self._window.setup.prompt.setFocus()
            return []

    def _requests(self, what: What) -> list[RunRequest]:
        question = self._workspace.question
        if not question.images:
            raise QuestionError(
                "There is no image to ask about.",
                "Open, drop or paste one in Setup, or choose a sample.",
            )
        if not question.prompt.strip():
            raise QuestionError(_NO_QUESTION, "Type one in Setup, then press Run.")
        groups = (self._about(images, what) for images in question.images_of_runs)
        return [request for group in groups for request in group]

    def _about(self, images: tuple[StoredImage, ...], what: What) -> list[RunRequest]:
        """The runs about these images."""
        workspace, question = self._workspace, self._workspace.question
        baseline = RunRequest(
            images,
            question.prompt.strip(),
            workspace.generation.stored,
            history=question.history,
        )
        if what == "baseline":
            return [baseline]
        interventions, cells = self._interventions(images)
        chosen_for = tuple(workspace.method.sink_dims_models)
        changed = replace(baseline, interventions=interventions, cells=cells, dims_of=chosen_for)
        there = self._baseline_of(baseline) or self._coming(baseline)
        requests = [baseline, changed] if there is None else [changed]
        if what == "pair":
            requests.append(replace(changed, scores=there or baseline))
        return requests

    def _interventions(
        self, images: tuple[StoredImage, ...]
    ) -> tuple[Interventions, VisualLayout | None]:
        """What acts on these images, and whose visual tokens it names, if any. Raises a
        VarStudioError where nothing acts, or cannot."""
        workspace = self._workspace
        current = workspace.interventions.current
        if not current:
            raise QuestionError(
                "No intervention acts: the run would be the baseline again.",
                "Tick one in Setup, under Interventions.",
            )
        hides = any(getattr(settings, "tokens", "") == "chosen" for settings in current)
        method = workspace.method
        steers = workspace.interventions.acts("redistribution") and (
            method.stored.target == "region"  # also where it does not apply to what is on screen
        )
        if not (hides or steers):
            return current, None
        self._check_picture(images)
        run = workspace.run
        if not hides and method.region_elsewhere and workspace.regions.available:
            return current, None  # as the panels say: the budget goes to all visual non-sinks
        if run is None or not method.region:
            raise QuestionError(
                "There is no region to act on.",
                "Paint one on the image, or choose other tokens in Setup.",
            )
        return current, run.layout

    def _check_picture(self, images: tuple[StoredImage, ...]) -> None:
        """A region says where to look on one picture; on another its tokens mean nothing."""
        run = self._workspace.run
        shown = None if run is None else [entry.sha256 for entry in run.image_entries]
        if shown is not None and shown != [image.sha256 for image in images]:
            raise QuestionError(
                "The region to act on belongs to another picture than the one asked about.",
                "Press Run, or show an answer about that picture, and paint the region there; or "
                "choose other tokens in Setup.",
            )

    def _baseline_of(self, wanted: RunRequest) -> Recording | None:
        """The latest run of the session that is this model's whole answer to this question."""
        runs = reversed(self._workspace.runs)
        return next((run for run in runs if self._answers(run, wanted)), None)

    def _coming(self, wanted: RunRequest) -> RunRequest | None:
        """The run under way or in the queue that will be this answer."""
        controller = self._window.controller
        asked = list(controller.waiting)
        if controller.current is not None and controller.state == "running":
            asked.insert(0, controller.current)
        return next((request for request in asked if _same(request, wanted)), None)

    def _answers(self, run: Recording, wanted: RunRequest) -> bool:
        model = self._window.controller.model
        return (
            not run.interventions
            and is_whole(run)
            and run.teacher is None
            and run.generation == wanted.generation
            and [e.sha256 for e in run.image_entries] == [i.sha256 for i in wanted.images]
            and run.provenance.get("prompt") == wanted.prompt
            and run.exchanges[:-1] == wanted.history
            and model is not None
            and run.provenance.get("checkpoint") == model.checkpoint
            and run.provenance.get("dtype") == model.dtype
            and (run.provenance.get("quantization") or "none") == model.quantization
        )


def _same(one: RunRequest, baseline: RunRequest) -> bool:
    """Whether a request is for this baseline."""
    return (
        not one.interventions
        and one.scores is None
        and one.generation == baseline.generation
        and [i.sha256 for i in one.images] == [i.sha256 for i in baseline.images]
        and one.prompt == baseline.prompt
        and one.history == baseline.history
    )
