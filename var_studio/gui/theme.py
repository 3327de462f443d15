"""Light and dark: the colours that every panel uses, and the application's palette."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette

Scheme = Literal["system", "light", "dark"]


@dataclass(frozen=True, slots=True)
class Colours:
    """Colours by role, as "#rrggbb". Ask `colours(widget.palette())`; listen to PaletteChange.

    `visual`, `text_tokens`, `bos` tell token groups apart; `sink` and `image_centric` mark what
    their names say; all of them are distinguishable under the common colour-vision deficiencies.
    """

    dark: bool
    window: str
    surface: str
    canvas: str
    raised: str
    border: str
    text: str
    text_dim: str
    text_faint: str
    accent: str
    accent_soft: str
    accent_hover: str
    on_accent: str
    selection: str
    sink: str
    image_centric: str
    visual: str
    text_tokens: str
    bos: str
    unseen: str
    warning: str
    error: str


LIGHT = Colours(
    dark=False,
    window="#f3f4f6",
    surface="#ffffff",
    canvas="#e9ebee",
    raised="#ffffff",
    border="#d5d9df",
    text="#1c2230",
    text_dim="#5b6474",
    text_faint="#8a93a3",
    accent="#2563c9",
    accent_soft="#dce8fb",
    accent_hover="#1f55ad",
    on_accent="#ffffff",
    selection="#f08c00",
    sink="#d6336c",
    image_centric="#0b8f6f",
    visual="#2f7fd1",
    text_tokens="#8a8f99",
    bos="#d9480f",
    unseen="#b4bac4",
    warning="#b35900",
    error="#c92a2a",
)

DARK = Colours(
    dark=True,
    window="#1b1e24",
    surface="#23272f",
    canvas="#15171c",
    raised="#2b303a",
    border="#3a404c",
    text="#e6e9ef",
    text_dim="#a6afbe",
    text_faint="#7d8797",
    accent="#6aa2ff",
    accent_soft="#263a5c",
    accent_hover="#8ab6ff",
    on_accent="#0e1420",
    selection="#ffa94d",
    sink="#ff6b9d",
    image_centric="#3ddbb0",
    visual="#5aa9f5",
    text_tokens="#9aa1ad",
    bos="#ff8a4c",
    unseen="#5b6270",
    warning="#ffb35c",
    error="#ff8787",
)


def colours(palette: QPalette | None = None) -> Colours:
    """The colours that go with a widget's palette (the application's when None)."""
    palette = palette if palette is not None else QGuiApplication.palette()
    return DARK if palette.color(QPalette.ColorRole.Window).lightness() < 128 else LIGHT


def system_is_dark() -> bool:
    """What the desktop asks for; light where it says nothing."""
    return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark


def resolve(scheme: Scheme) -> Colours:
    """The colours of a scheme; "system" asks the desktop."""
    return DARK if scheme == "dark" or (scheme == "system" and system_is_dark()) else LIGHT


def palette(scheme: Scheme) -> QPalette:
    """The Qt palette of a scheme."""
    c = resolve(scheme)
    role = QPalette.ColorRole
    result = QPalette()
    for name, colour in {
        role.Window: c.window,
        role.WindowText: c.text,
        role.Base: c.surface,
        role.AlternateBase: c.window,
        role.Text: c.text,
        role.Button: c.raised,
        role.ButtonText: c.text,
        role.BrightText: c.error,
        role.ToolTipBase: c.raised,
        role.ToolTipText: c.text,
        role.PlaceholderText: c.text_faint,
        role.Highlight: c.accent,
        role.HighlightedText: c.on_accent,
        role.Link: c.accent,
        role.LinkVisited: c.accent,
        role.Accent: c.accent,
        role.Light: "#3a404c" if c.dark else "#ffffff",
        role.Midlight: "#323844" if c.dark else "#eceef1",
        role.Mid: "#15171c" if c.dark else "#c3c8d0",
        role.Dark: "#121419" if c.dark else "#b4bac4",
        role.Shadow: "#000000" if c.dark else "#8a93a3",
    }.items():
        result.setColor(name, QColor(colour))
    for name in (role.WindowText, role.Text, role.ButtonText):
        result.setColor(QPalette.ColorGroup.Disabled, name, QColor(c.text_faint))
    result.setColor(QPalette.ColorGroup.Disabled, role.Highlight, QColor(c.border))
    return result


def box_palette(scheme: Scheme) -> QPalette:
    """The palette of check boxes: Fusion frames a ticked one in a darker window colour, which on a
    dark window cannot be seen."""
    result, c = palette(scheme), resolve(scheme)
    if c.dark:
        result.setColor(QPalette.ColorRole.Window, QColor(c.text_dim))
    return result


def stylesheet(c: Colours) -> str:
    """What a palette cannot say: captions, quiet text, the one strong button, panel headers."""
    return f"""
    QMainWindow::separator {{ background: {c.window}; width: 5px; height: 5px; }}
    QMainWindow::separator:hover {{ background: {c.accent_soft}; }}
    QTabBar {{ qproperty-elideMode: ElideNone; qproperty-drawBase: false; }}
    QTabBar::tab {{
        color: {c.text_dim}; background: transparent; padding: 4px 9px 5px 9px;
        border: none; border-top: 2px solid transparent;
    }}
    QTabBar::tab:hover {{ color: {c.text}; }}
    QTabBar::tab:selected {{
        color: {c.text}; background: {c.surface}; border-top-color: {c.accent};
    }}
    #panelHeader {{ background: {c.surface}; border-bottom: 1px solid {c.border}; }}
    #panelTitle {{ color: {c.text}; font-weight: 600; }}
    #sectionTitle {{ color: {c.text}; font-weight: 600; }}
    #caption {{ color: {c.text_faint}; }}
    #quiet {{ color: {c.text_dim}; }}
    #emptyState {{ color: {c.text_dim}; }}
    #unfold {{ color: {c.text_dim}; border: none; padding: 0 2px; }}
    #menuButton {{ color: {c.accent}; border: none; padding: 1px 0; }}
    #menuButton::menu-indicator {{ image: none; width: 0; }}
    #footer {{ background: {c.window}; border-top: 1px solid {c.border}; }}
    #notice {{
        background: {c.raised}; border: 1px solid {c.text_faint}; border-radius: 6px;
    }}
    #popup {{ background: {c.raised}; border: 1px solid {c.text_faint}; }}
    #helpCard {{
        background: {c.raised}; border: 1px solid {c.border}; border-radius: 6px;
    }}
    #status {{ color: {c.text_dim}; padding: 0 6px; }}
    QPushButton#primary {{
        background: {c.accent}; color: {c.on_accent}; border: none; border-radius: 4px;
        padding: 6px 10px; font-weight: 600;
    }}
    QPushButton#primary:hover {{ background: {c.accent_hover}; }}
    QPushButton#primary:focus {{ border: 2px solid {c.text}; padding: 4px 8px; }}
    QPushButton#primary:disabled {{ background: {c.border}; color: {c.text_faint}; }}
    QToolButton#preset {{
        border: 1px solid {c.border}; border-radius: 3px; padding: 2px 1px; color: {c.text_dim};
        background: {c.surface};
    }}
    QToolButton#preset:checked {{
        border-color: {c.accent}; background: {c.accent_soft}; color: {c.text};
    }}
    QCheckBox::indicator:unchecked {{
        border: 1px solid {c.text_dim}; border-radius: 2px; background: {c.surface};
        width: 12px; height: 12px;
    }}
    QCheckBox::indicator:unchecked:disabled {{ border-color: {c.unseen}; }}
    #wrong {{ color: {c.error}; }}
    QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
    QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 0; }}
    QScrollBar::handle {{ background: {c.unseen}; border-radius: 4px; margin: 1px; }}
    QScrollBar::handle:vertical {{ min-height: 28px; }}
    QScrollBar::handle:horizontal {{ min-width: 28px; }}
    QScrollBar::handle:hover {{ background: {c.text_faint}; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
    QToolTip {{
        background: {c.raised}; color: {c.text}; border: 1px solid {c.border}; padding: 4px;
    }}
    """
