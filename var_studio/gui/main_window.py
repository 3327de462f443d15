"""The window: menus, docks, notices, status; it listens to the panels and asks the model."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import QByteArray, QPoint, Qt, QTimer, Signal, Slot
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QIcon,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QMainWindow,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from var_studio.errors import VarStudioError
from var_studio.gui import actions, memory, menus, tab_order
from var_studio.gui.about import ABOUT, keys_as_html
from var_studio.gui.appearance import Appearance
from var_studio.gui.choices import add_choices
from var_studio.gui.docks import DockArea, PanelDock
from var_studio.gui.model_desk import ModelDesk
from var_studio.gui.models.question import Sample, shipped_samples
from var_studio.gui.models.rows_ahead import RowsAhead
from var_studio.gui.models.run_controller import RunController
from var_studio.gui.models.run_follower import RunFollower
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.setup import SetupPanel
from var_studio.gui.panels.transcript import TranscriptPanel
from var_studio.gui.question_intake import QuestionIntake, What
from var_studio.gui.session_files import SessionFiles
from var_studio.gui.status import StatusBar
from var_studio.gui.takeaway import Takeaway
from var_studio.gui.widgets.help_card import HelpCard
from var_studio.gui.widgets.image_well import dropped_files
from var_studio.gui.widgets.key_guard import KeyGuard
from var_studio.gui.widgets.notices import NoticeBar

if TYPE_CHECKING:
    from var_studio.gui.recovery import Recovery
    from var_studio.gui.widgets.palette import CommandPalette


class MainWindow(QMainWindow):
    """VAR Studio's window. `start()` after the first paint loads the model and the samples."""

    first_painted = Signal()
    closed = Signal()

    def __init__(self, appearance: Appearance | None = None) -> None:
        super().__init__()
        self.setObjectName("window")
        self.setAcceptDrops(True)
        self.appearance = appearance or Appearance(self)
        self.appearance.apply_palette()
        self.workspace = Workspace(self)
        self.rows_ahead = RowsAhead(self.workspace, self)
        self.controller = RunController(self)
        self.follower = RunFollower(self.controller, self.workspace, self)
        self.area = DockArea()
        self.status = StatusBar()
        self.setStatusBar(self.status)
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.area, 1)
        self.setCentralWidget(centre)
        self.notices = NoticeBar(centre)
        self.files = SessionFiles(self, self.workspace)
        self.intake = QuestionIntake(self, self.workspace)
        self.desk = ModelDesk(self, self.workspace, self.controller)
        self.actions_by_name, self.menus = actions.build(self)
        menus.add_panels(self)
        self.theme_actions = menus.add_themes(self)
        self.recent = menus.add_recent(self)
        self.samples: tuple[Sample, ...] = ()
        self.choices = add_choices(self)
        self.takeaway = Takeaway(self, self.workspace)
        self.key_guard = KeyGuard(self)
        self.help_card = HelpCard(self)
        self._painted = False
        self._closing = False
        self._connect()
        self._recall()
        self.show_title()
        self.appearance.apply_sheet()

    # ------------------------------------------------------------------------------ building
    @property
    def setup(self) -> SetupPanel:
        return cast(SetupPanel, self.area.panel("setup"))

    @property
    def transcript(self) -> TranscriptPanel:
        return cast(TranscriptPanel, self.area.panel("transcript"))

    @cached_property
    def palette_card(self) -> CommandPalette:
        from var_studio.gui.widgets.palette import CommandPalette

        return CommandPalette(self)

    @cached_property
    def recovery(self) -> Recovery:
        from var_studio.gui.recovery import Recovery

        return Recovery(self)

    def panels(self) -> list[Panel]:
        """All panels, in the order of the list of panels."""
        return [dock.panel for dock in self.area.docks.values()]

    def _connect(self) -> None:
        self.area.panel_made.connect(self._panel_made)
        for dock in self.area.docks.values():
            dock.dropped.connect(self.intake.take_drop)
        workspace, controller, setup = self.workspace, self.controller, self.setup
        workspace.problem.connect(self.show_problem)
        workspace.run_changed.connect(self._facts_changed)
        workspace.runs_changed.connect(self._facts_changed)
        workspace.modified_changed.connect(self.show_title)
        workspace.tokens_appended.connect(self._show_memory)
        workspace.view.changed.connect(self._view_changed)
        workspace.undo_stack.indexChanged.connect(self._undo_changed)
        controller.problem.connect(self.show_problem)
        controller.state_changed.connect(self._state_changed)
        controller.queue_changed.connect(self._queue_changed)
        controller.model_loaded.connect(self._facts_changed)
        controller.model_released.connect(self._facts_changed)
        self.follower.status.connect(self.status.say)
        self.follower.progress.connect(self.status.show_progress)
        self.transcript.asked.activated.connect(self.files.show_question)
        self.transcript.note.connect(self.status.say)
        self.transcript.image_clicked.connect(self.look_at_image)
        setup.run_button.clicked.connect(self.run)
        setup.run_var_button.clicked.connect(self.run_with_var)
        setup.run_pair_button.clicked.connect(self.run_pair)
        setup.stop_button.clicked.connect(self.stop)
        setup.queue.cancelled.connect(controller.cancel)
        setup.follow_up_wanted.connect(self.intake.follow_up)
        model = setup.model_section
        model.model_chosen.connect(self.load_model)
        model.folder_wanted.connect(self.open_model_folder)
        model.load_wanted.connect(self.desk.load_again)
        model.release_wanted.connect(self.release_model)
        model.stop_wanted.connect(self.stop)
        setup.open_image_wanted.connect(self.intake.open_image)
        setup.paste_wanted.connect(self.intake.paste_image)
        setup.add_image_wanted.connect(self.intake.add_image)
        setup.files_dropped.connect(self.intake.take_files)
        setup.files_added.connect(self.intake.add_files)
        setup.pixels_dropped.connect(self.intake.take_pixels)
        setup.sample_chosen.connect(self.intake.take_sample)
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.focusChanged.connect(self.key_guard.focus_changed)
        self._view_changed()
        self._undo_changed()

    @Slot(object)
    def _panel_made(self, panel: Panel) -> None:
        panel.set_workspace(self.workspace)
        panel.export_requested.connect(self.export_panel)
        panel.help_requested.connect(self.help_on)

    # ------------------------------------------------------------------------------- starting
    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            # The children paint in this same turn of the event loop.
            QTimer.singleShot(0, self, self.first_painted.emit)

    @Slot()
    def start(self, model: str | None = "demo") -> None:
        """Load the model behind the window and put a question there that is ready to run."""
        samples = self.samples = shipped_samples()
        self.setup.set_samples(samples)
        if samples and self.workspace.question.image is None and not self.workspace.runs:
            self.intake.take_sample(samples[0])
            self.workspace.undo_stack.clear()
        if model is not None:
            self.load_model(model)
        self.recovery.offer()
        self.area.finish()

    def load_model(self, name: str) -> None:
        """Load a model: "demo", a folder, a hub id."""
        self.desk.load(name)

    def load_demo(self) -> None:
        """Load the demo model."""
        self.desk.load("demo")

    def open_model_folder(self) -> None:
        """Choose a checkpoint folder."""
        self.desk.open_folder()

    def open_hub_model(self) -> None:
        """Go to the line in Setup that takes a hub id."""
        self.area.reveal("setup")
        self.setup.model_section.ask_hub()

    def release_model(self) -> None:
        """Give the model's memory back."""
        self.desk.release()

    # ------------------------------------------------------------------------------- running
    def run(self) -> None:
        """Ask the question: the baseline."""
        self._start("baseline")

    def run_with_var(self) -> None:
        """Ask it with the interventions; the baseline first if it was not asked yet."""
        self._start("changed")

    def run_pair(self) -> None:
        """Baseline, interventions, and the baseline's answer scored under them."""
        self._start("pair")

    def follow_up(self) -> None:
        """Ask on, after the answer on screen."""
        self.intake.follow_up()

    def _start(self, what: What) -> None:
        requests = self.intake.requests(what)
        if requests:
            self.controller.start(requests)

    def stop(self) -> None:
        """Stop what goes on; what was recorded is kept."""
        self.controller.stop()

    # ------------------------------------------------------------------- files, undo, figures
    def open_image(self) -> None:
        self.intake.open_image()

    def add_image(self) -> None:
        self.intake.add_image()

    def paste_image(self) -> None:
        self.intake.paste_image()

    def open_session(self) -> None:
        self.files.ask_open()

    def open_recording(self) -> None:
        self.files.ask_open_run()

    def save_session(self) -> None:
        self.files.save()

    def save_session_as(self) -> None:
        self.files.save_as()

    def save_part(self) -> None:
        self.files.ask_part()

    def undo(self) -> None:
        self.workspace.undo_stack.undo()

    def redo(self) -> None:
        self.workspace.undo_stack.redo()

    def find_words(self) -> None:
        self.area.docks["transcript"].raise_()
        self.transcript.search.open()

    def find_next(self) -> None:
        self.transcript.search.further(1)

    def find_previous(self) -> None:
        self.transcript.search.further(-1)

    def reset_method(self) -> None:
        """The paper's values and the model's own τ."""
        self.workspace.method.set_all_default()

    def export_figure(self) -> None:
        """Export the figure of the panel in focus, or the map."""
        panel = self._panel_in_focus()
        figure = None if panel is None else panel.figure_name or panel.data_file
        if figure == "answers" and None in (self.workspace.baseline, self.workspace.paired):
            figure = None
        if not figure:
            panel = self.area.panel("image")
        if panel is not None:
            self.export_panel(panel)

    @Slot(object)
    def export_panel(self, panel: Panel) -> None:
        """Export one panel's figure, or what it has in place of one."""
        if panel.figure_name is None:
            from var_studio.gui.data_files import ask_save

            ask_save(self, panel)
            return
        from var_studio.gui.export import ask_export

        ask_export(self, self.workspace, panel.figure_name)

    def load_settings(self) -> None:
        """Take the settings of a file that Setup or a figure wrote."""
        from var_studio.gui.data_files import ask_load_settings

        ask_load_settings(self, self.workspace)

    def copy_picture(self) -> None:
        """Copy the picture of the panel in focus (or of the image)."""
        panel = self._panel_in_focus()
        if panel is None or panel is self.setup:
            panel = self.area.panel("image")
        panel.copy_picture()
        self.status.say(f"The picture of {panel.title} is on the clipboard.")

    # -------------------------------------------------------------------------------- walking
    def look_at_image(self) -> None:
        """Go to the map: the keyboard moves over its cells."""
        from var_studio.gui.panels.image import ImagePanel

        self.area.reveal("image")
        cast(ImagePanel, self.area.panel("image")).focus_map()

    def next_token(self) -> None:
        self.workspace.selection.step_token(1)

    def previous_token(self) -> None:
        self.workspace.selection.step_token(-1)

    def next_layer(self) -> None:
        self.workspace.selection.step_layer(1)

    def previous_layer(self) -> None:
        self.workspace.selection.step_layer(-1)

    def next_head(self) -> None:
        self.workspace.selection.step_head(1)

    def previous_head(self) -> None:
        self.workspace.selection.step_head(-1)

    def all_heads(self) -> None:
        self.workspace.selection.select_all()

    def flip(self) -> None:
        self.workspace.view.flip()

    def toggle_sinks(self) -> None:
        self.workspace.view.toggle_sinks()

    def restore_layout(self) -> None:
        """All panels in their first places."""
        self.area.arrange()

    # -------------------------------------------------------------------------------- palette
    def show_palette(self) -> None:
        """Every action, panel, recent file and theme, by a few letters of its name."""
        from var_studio.gui.command_list import commands

        self.palette_card.open(commands(self))

    # ----------------------------------------------------------------------------------- help
    def help_here(self) -> None:
        """Help on the panel in focus."""
        self.help_on(self._panel_in_focus() or self.setup)

    @Slot(object)
    def help_on(self, panel: Panel) -> None:
        """What a panel shows, beside its help button; shows the panel if it is hidden."""
        if not panel.isVisible():
            self.area.reveal(panel.name)
        button = panel.header.help_button
        corner = button.mapToGlobal(QPoint(button.width(), button.height() + 4))
        self.help_card.show_help(panel.title, panel.help_text, self.mapFromGlobal(corner))

    def show_keys(self) -> None:
        """The list of keys."""
        self._show_text("Keys", keys_as_html())

    def about_machine(self) -> None:
        """What this machine can do, and what to change."""
        from var_studio.gui.machine import MachineReport

        MachineReport(self).show()

    def about(self) -> None:
        """What this program is."""
        self._show_text("About VAR Studio", ABOUT)

    def _show_text(self, title: str, text: str) -> None:
        box = QMessageBox(self)
        box.setWindowTitle(title)
        box.setText(text)
        box.addButton(QMessageBox.StandardButton.Close).setIcon(QIcon())
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setModal(False)
        box.show()

    # -------------------------------------------------------------------------------- notices
    @Slot(object)
    def show_problem(self, error: VarStudioError) -> None:
        """Show an error as a notice; the program goes on."""
        self.notices.show_error(error)

    def focusNextPrevChild(self, forward: bool) -> bool:
        return tab_order.step(self, forward)

    def _panel_in_focus(self) -> Panel | None:
        widget: QWidget | None = QApplication.focusWidget()
        while widget is not None and not isinstance(widget, PanelDock):
            widget = widget.parentWidget()  # a panel's header lies beside it in the dock
        return widget.panel if widget is not None else None

    # ------------------------------------------------------------------- what is told to us
    @Slot(str)
    def _state_changed(self, state: str) -> None:
        self.setup.show_state(state)
        if state == "stopping":
            self.status.say("Stopping…")
        if state in ("loading", "running"):
            self.notices.clear("error")
        if state == "running":
            self.status.show_progress(0, 0)
        elif state == "idle":
            self.status.end_progress()

    @Slot()
    def _queue_changed(self) -> None:
        self.setup.queue.show_runs(self.controller.current, self.controller.waiting)

    @Slot()
    def _facts_changed(self) -> None:
        self.status.show_facts(self.workspace.run, self.controller.model)
        if self._painted:
            self._show_memory(often=False)
        self.show_title()

    @Slot()
    def _show_memory(self, often: bool = True) -> None:
        model = self.controller.model
        self.status.show_memory(model.device if model is not None else "", often=often)

    @Slot()
    def _view_changed(self) -> None:
        shown = self.workspace.view.current
        self.actions_by_name["toggle_sinks"].setChecked(shown.sinks_boxed)

    @Slot()
    def _undo_changed(self) -> None:
        stack = self.workspace.undo_stack
        for name, verb, can, text in (
            ("undo", "&Undo", stack.canUndo(), stack.undoText()),
            ("redo", "&Redo", stack.canRedo(), stack.redoText()),
        ):
            self.actions_by_name[name].setEnabled(can)
            self.actions_by_name[name].setText(f"{verb} {text}".strip())

    @Slot(QAction)
    def choose_theme(self, action: QAction) -> None:
        """Wear the theme of a menu entry."""
        self.appearance.choose(action.data())

    @Slot()
    def show_title(self) -> None:
        """The session's name, whether it is modified, whether another program has it open."""
        path = self.workspace.session_path
        name = path.name if path is not None else "untitled session"
        if self.files.read_only:
            name += " (read-only)"
        self.setWindowTitle(f"{name}[*] – VAR Studio" if self.workspace.runs else "VAR Studio[*]")
        self.setWindowModified(self.workspace.modified)

    # --------------------------------------------------------------------------- drag and drop
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_files(event.mimeData()) or event.mimeData().hasImage():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.intake.take_drop(event.mimeData())
        event.acceptProposedAction()

    # -------------------------------------------------------------------------------- closing
    def closeEvent(self, event: QCloseEvent) -> None:
        if self._closing:
            event.accept()
            return
        if not self.files.may_discard(self._keep_going_note()):
            event.ignore()
            return
        self._closing = True
        self._remember()
        self.hide()  # stopping may take a moment: a library that is being imported is waited for
        self.workspace.end()
        self.rows_ahead.end()
        self.takeaway.end()
        self.desk.end()
        self.controller.shutdown()
        self.files.shutdown()
        self.closed.emit()
        event.accept()

    def _keep_going_note(self) -> str:
        running = self.controller.state in ("running", "stopping")
        return "The run under way is stopped. " if running else ""

    # --------------------------------------------------------------------------------- memory
    def _remember(self) -> None:
        remembered = memory.settings()
        remembered.setValue("geometry", self.saveGeometry())
        remembered.setValue("layout", self.area.remember())
        remembered.setValue("own_sizes", int(self.area.own_sizes))

    def _recall(self) -> None:
        remembered = memory.settings()
        geometry, layout = remembered.value("geometry"), remembered.value("layout")
        if not (isinstance(geometry, QByteArray) and self.restoreGeometry(geometry)):
            self.resize(1400, 900)
        own = str(remembered.value("own_sizes", "1")) != "0"
        self._proportioned = isinstance(layout, QByteArray) and self.area.recall(layout, own)

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        if not self._proportioned:
            self._proportioned = True
            self.area.proportion()
        # Not on the first button: its space bar would be lost to the window's keys.
        self.transcript.setFocus()
