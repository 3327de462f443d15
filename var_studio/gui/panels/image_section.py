"""Setup's images: opened, dropped, pasted, taken from the samples; their order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QToolButton, QWidget

from var_studio.gui.models.question import QuestionModel, Sample
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.image_strip import ImageStrip
from var_studio.gui.widgets.image_well import ImageWell
from var_studio.gui.widgets.quiet import QuietLabel
from var_studio.gui.widgets.section import Section
from var_studio.gui.widgets.segmented import Segmented

if TYPE_CHECKING:
    from var_studio.recording.images import StoredImage

_SAMPLE_COLUMNS = 6


class ImageSection(Section):
    """What the question is about. Its signals are the user's wishes; order and removal it does."""

    open_wanted = Signal()
    add_wanted = Signal()
    paste_wanted = Signal()
    sample_chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__("Image", "Samples")
        self._question: QuestionModel | None = None
        self._pixmaps: dict[str, QPixmap] = {}
        self.well = ImageWell()
        self.well.clicked.connect(self.open_wanted)
        self.strip = ImageStrip()
        self.strip.chosen.connect(self._show_chosen)
        self.image_name = HoverLine("")
        self.image_name.set_quiet(True)
        self.image_name.setAccessibleName("Name of the image")
        self.open_image = _button("Open…", "Open image files in place of this", self.open_wanted)
        self.add_image = _button("Add…", "Ask about another image beside this one", self.add_wanted)
        self.paste_image = _button("Paste", "Take the image on the clipboard", self.paste_wanted)
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        line.addWidget(self.image_name, 1)
        for button in (self.paste_image, self.add_image, self.open_image):
            line.addWidget(button)
        self.samples = QWidget()
        self._sample_grid = QGridLayout(self.samples)
        self._sample_grid.setContentsMargins(0, 0, 0, 0)
        self._sample_grid.setSpacing(2)
        self._sample_grid.setColumnStretch(_SAMPLE_COLUMNS, 1)
        self.sample_note = QuietLabel()
        self.ask = Segmented(
            "Several images",
            (
                ("each", "One by one", "A run for each image: an entry of the session each"),
                ("together", "Together", "One question about all images, in the order shown"),
            ),
        )
        self.ask.chosen.connect(self._ask_chosen)
        self.ask_note = QuietLabel()
        self.ask_row = QWidget()
        choice = QHBoxLayout(self.ask_row)
        choice.setContentsMargins(0, 0, 0, 0)
        choice.addWidget(self.ask)
        choice.addStretch(1)
        for widget in (self.well, self.strip, row, self.ask_row, self.ask_note, self.sample_note):
            self.add(widget)
        self.add_more(self.samples)
        self.unfold.setVisible(False)  # until there are some; its place is kept
        policy = self.unfold.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.unfold.setSizePolicy(policy)

    def follow(self, question: QuestionModel) -> None:
        """Show this question's images from now on."""
        self._question = question
        self.strip.removed.connect(question.remove_image)
        self.strip.moved.connect(question.move_image)
        question.image_changed.connect(self._show_images)
        self._show_images()

    def set_samples(self, samples: tuple[Sample, ...]) -> None:
        """Show the pictures that ship with VAR Studio."""
        for number, sample in enumerate(samples):
            button = QToolButton()
            button.setAutoRaise(True)
            button.setIcon(QIcon(str(sample.path)))
            button.setIconSize(QSize(32, 32))
            button.setToolTip("\n".join(t for t in (sample.title, sample.note) if t))
            button.setAccessibleName(f"Sample: {sample.title}")
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(partial(self._sample_clicked, sample))
            row, column = divmod(number, _SAMPLE_COLUMNS)
            self._sample_grid.addWidget(button, row, column)
        self.unfold.setVisible(bool(samples))

    def _sample_clicked(self, sample: Sample) -> None:
        self.sample_chosen.emit(sample)

    def _ask_chosen(self, how: str) -> None:
        assert self._question is not None
        self._question.set_each(how == "each")

    def _show_ask(self) -> None:
        """Whether several images are asked about one by one."""
        assert self._question is not None
        each, count = self._question.each, len(self._question.images)
        self.ask_row.setVisible(count > 1)
        self.ask.set_current("each" if each else "together")
        self.ask_note.say(
            (
                f"{count} runs, each an entry of the session."
                if each
                else f"One question, {count} images."
            )
            if count > 1
            else ""
        )

    def _show_images(self) -> None:
        assert self._question is not None
        images = self._question.images
        kept = {image.sha256 for image in images}
        self._pixmaps = {key: pixmap for key, pixmap in self._pixmaps.items() if key in kept}
        self.title.setText("Image" if len(images) < 2 else f"Images · {len(images)}")
        self.strip.show_images([(self._pixmap(image), image.name) for image in images])
        self._show_ask()
        self._show_chosen()

    def _show_chosen(self) -> None:
        assert self._question is not None
        images = self._question.images
        image = images[self.strip.current] if images else None
        name = "" if image is None else image.name
        self.well.show_picture(None if image is None else self._pixmap(image), name)
        self.image_name.set_text(name)

    def _pixmap(self, image: StoredImage) -> QPixmap:
        """The picture as the model will see it: Pillow turns it as its EXIF says, Qt would not."""
        if image.sha256 not in self._pixmaps:
            from var_studio.recording.images import decode

            pixels = decode(image).copy()
            pixels.thumbnail((800, 800))
            width, height = pixels.size
            encoded = QImage(
                pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
            )
            self._pixmaps[image.sha256] = QPixmap.fromImage(encoded.copy())
        return self._pixmaps[image.sha256]


def _button(text: str, tip: str, wish: object) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFixedWidth(button.fontMetrics().horizontalAdvance(text) + 22)
    button.clicked.connect(wish)
    return button
