"""A recording as a notebook asks it: words and axes by name, and every number of `analysis`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis import contributions as contributed
from var_studio.analysis import shares
from var_studio.analysis.choice import TokenName, find_token, query_of, read
from var_studio.analysis.contributions import Contributions, Quantity, visual_map
from var_studio.analysis.focus import Aggregate, RowOf
from var_studio.analysis.labelled import Labelled, Pick, indices, several
from var_studio.analysis.labels import acting, coordinates, described, of_run, of_token
from var_studio.analysis.ledger import Ledger
from var_studio.analysis.reading import HeadValue, Moment, Reading
from var_studio.analysis.views import choose_views
from var_studio.errors import VarStudioError
from var_studio.recording import session as sessions
from var_studio.recording.interventions import interventions_from
from var_studio.recording.layout import View
from var_studio.recording.questions import check_choice, checked_index
from var_studio.recording.recording import Floats, Recording
from var_studio.recording.session import Session
from var_studio.recording.settings import Convention, Redistribution, settled
from var_studio.recording.tokens import Token, Tokens

Settings = Redistribution | Mapping[str, Any] | None
Words = TokenName | list[TokenName]


def open_session(path: str | os.PathLike[str]) -> Session:
    """Open a session file, or the directory of a single run; arrays are read when asked for.

        vs.open_session("circle.vars").runs["VAR"].attention(token="red", layer=3, head="mean")

    Needs no model, no torch and no window. Raises SessionError for a file that is missing, damaged,
    no session, or of a newer version.
    """
    return sessions.open_session(path, kind=AnalysedRecording)


class AnalysedRecording(Recording):
    """A recording whose words and axes go by name; see `Recording` for the rest.

    `token`: a position, a text, "g0", or `("the", 1)`: see `choice.TokenName`; where a list is
    taken, one more axis `query` comes first. `layer`, `head`: a number, a slice, a list or array of
    numbers, a mask, "mean", or None: all. `as_xarray` gives an xarray.DataArray with the axes
    query, layer, head, key (or row, col), the text and role of each key, whether it is a sink, and
    units and settings in its attributes; otherwise NumPy. L layers, H heads, T tokens, Q rows, V
    visual tokens.

    Raises VarStudioError for a token, layer or head that the run does not have.
    """

    _tokens: tuple[tuple[Token, ...], Tokens] | None = None

    @property
    def tokens(self) -> Tokens:
        """The tokens of the sequence; a table in a notebook."""
        source = super().tokens
        if self._tokens is None or self._tokens[0] is not source:
            self._tokens = (source, Tokens(source))
        return self._tokens[1]

    # ------------------------------------------------------------------- rows (..., L, H, T)

    def attention(
        self,
        query: int | slice | Sequence[int] | None = None,
        layer: Pick = None,
        head: Pick = None,
        *,
        token: Words | None = None,
        keep: bool = True,
        as_xarray: bool = False,
    ) -> Any:
        """Attention weights as the model computed them, before any redistribution.

        (L, H, T) float32, shares of the row; axes go where one layer or head is chosen.
        """

        def row(number: int) -> Floats:
            return Recording.attention(self, number, keep=keep)

        return self._asked("attention", row, query, token, layer, head, as_xarray, None)

    def redistributed(
        self,
        query: int | slice | Sequence[int] | None = None,
        settings: Settings = None,
        layer: Pick = None,
        head: Pick = None,
        *,
        token: Words | None = None,
        as_xarray: bool = False,
    ) -> Any:
        """The same rows after redistribution under settings (Eq. 4), shapes as `attention`.

        `settings` None: the run's own redistribution, else the defaults.
        """
        chosen = self._settings(settings)

        def row(number: int) -> Floats:
            return Recording.intervened(self, number, chosen)

        found = self._asked("redistributed", row, query, token, layer, head, as_xarray, chosen)
        if as_xarray:
            found.attrs |= acting([chosen])
        return found

    def intervened(
        self,
        query: int | slice | Sequence[int] | None = None,
        interventions: Any = None,
        layer: Pick = None,
        head: Pick = None,
        *,
        token: Words | None = None,
        as_xarray: bool = False,
    ) -> Any:
        """The same rows after interventions in attention (None: the run's own), as `attention`."""

        def row(number: int) -> Floats:
            return Recording.intervened(self, number, interventions)

        found = self._asked("intervened", row, query, token, layer, head, as_xarray, None)
        if as_xarray:
            given = interventions is not None
            found.attrs |= acting(
                interventions_from(interventions) if given else self.interventions
            )
        return found

    def contribution(
        self,
        query: int | slice | Sequence[int] | None = None,
        layer: Pick = None,
        head: Pick = None,
        *,
        token: Words | None = None,
        as_xarray: bool = False,
    ) -> Any:
        """Attention times norm(v W_O) of each key (Sec. 4.2), shapes as `attention`; in units of
        the residual stream."""

        def row(number: int) -> Floats:
            return Recording.contribution(self, number)

        return self._asked("contribution", row, query, token, layer, head, as_xarray, None)

    # -------------------------------------------------------------------- keys (L, [H,] T)

    def phi(
        self,
        layer: Pick = None,
        sink_dims: Sequence[int] | None = None,
        *,
        as_xarray: bool = False,
    ) -> Any:
        """Sink-dimension value of every token as a key, (L, T) float32, unitless (Sec. 4.1).

        At most the root of D. NaN for a token that was never fed; see `Recording.phi`.
        """
        values = Recording.phi(self, sink_dims=sink_dims)
        given = {"sink_dims": sink_dims}
        chosen = settled(Redistribution, given, "settings") if as_xarray else None
        return self._of_keys("phi", values, layer, None, as_xarray, chosen)

    def sinks(
        self,
        layer: Pick = None,
        tau: float | None = None,
        convention: Convention = "paper",
        sink_dims: Sequence[int] | None = None,
        *,
        as_xarray: bool = False,
    ) -> Any:
        """Sink tokens, visual and text, (L, T) bool (Sec. 4.1); "mean": the share of layers.

        `tau` None is the run's default.
        """
        values = Recording.sinks(self, None, tau, convention, sink_dims)
        given = {"tau": tau, "convention": convention, "sink_dims": sink_dims}
        chosen = settled(Redistribution, given, "settings") if as_xarray else None
        return self._of_keys("sinks", values, layer, None, as_xarray, chosen)

    def value_norm(self, layer: Pick = None, head: Pick = None, *, as_xarray: bool = False) -> Any:
        """norm(v W_O) of every key, (L, H, T) float32, of the residual stream (App. D.3)."""
        return self._of_keys("value_norm", Recording.value_norm(self), layer, head, as_xarray, None)

    # ----------------------------------------------------------------------- what analysis says

    def read(
        self,
        token: TokenName | None = None,
        layer: Pick = None,
        head: Pick = None,
        *,
        settings: Settings = None,
        aggregate: Aggregate = "mean",
        row_of: RowOf = "query",
    ) -> Reading:
        """One row under settings: `analysis.reading.Reading`, which has every number on screen.

        `token` None: the first of the answer. `row_of` "produced": the row of the step that
        produced the token. `settings` None: what was done in the run, of a baseline the default
        redistribution. Phi and sinks are those of `layer`, without one layer of the middle one.
        """
        chosen = None if settings is None else settled(Redistribution, settings, "settings")
        layers = indices("layer", layer, self.n_layers)
        columns = indices("head", head, self.n_heads)
        whole = len(layers) == self.n_layers and len(columns) == self.n_heads
        pairs = [(int(i), int(h)) for i in layers for h in columns]
        return read(
            self,
            token=token,
            row_of=row_of,
            layer=int(layers[0]) if len(layers) == 1 else None,
            heads="all" if whole else pairs,
            aggregate=aggregate,
            settings=chosen,
        )

    def map(
        self,
        token: TokenName | None = None,
        layer: Pick = None,
        head: Pick = None,
        *,
        image: int = 0,
        view: int | None = None,
        moment: Moment = "before",
        quantity: Quantity = "attention",
        settings: Settings = None,
        aggregate: Aggregate = "mean",
        row_of: RowOf = "query",
        as_xarray: bool = False,
    ) -> Any:
        """The attention that a token gives the cells of a view, (rows, cols) float32.

        Mean (or `aggregate` "max") over the chosen layers and heads; shares of the row, of
        `quantity` "contribution" in units of the residual stream (Sec. 4.2). `moment`: before,
        after, or their difference, under `settings` (local redistribution). NaN where no token is.
        `image` counts from 0; `view` is a number of `layout.views`, None: the one of the image with
        the smallest cells. Where the geometry is not known, the strip of all visual tokens.

        With `as_xarray`: x, y in pixels of the original image, the visual token and whether it is a
        sink in the layer (without one layer: the middle one) of each cell.
        """
        check_choice("moment", moment, Moment)
        check_choice("quantity", quantity, Quantity)
        reading = self.read(
            token, layer, head, settings=settings, aggregate=aggregate, row_of=row_of
        )
        number, shown = self._view(image, view)
        values = self._visual_values(reading, moment, quantity)
        cells = shown.tokens
        picked = np.maximum(cells, 0)
        if len(values):
            grid = np.where(cells >= 0, values[picked], np.float32(np.nan))
        else:
            grid = np.full(cells.shape, np.nan, np.float32)
        if not as_xarray:
            return grid
        both = ("row", "col")
        positions = np.where(cells >= 0, reading.positions[picked], -1)
        coords: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
            "row": (("row",), np.arange(shown.rows)),
            "col": (("col",), np.arange(shown.cols)),
            "visual_token": (both, cells),
            "position": (both, positions),
            "sink": (both, np.where(cells >= 0, reading.visual_sinks[picked], False)),
        }
        if self.layout.known:
            x, y = shown.edges()
            coords["x"] = (("col",), (x[:-1] + x[1:]) / 2)
            coords["y"] = (("row",), (y[:-1] + y[1:]) / 2)
        pairs = reading.focus.heads
        unit = "1" if quantity == "attention" else "residual stream"
        about = {
            "long_name": f"{quantity} of each visual token, {moment}",
            "units": unit,
            "source": "Sec. 4.2" if quantity == "contribution" else "softmax weights; Eq. 4",
            "moment": moment,
            "image": shown.image,
            "view": number,
            "view_name": shown.name,
            "aggregate": aggregate,
            "heads": json.dumps([list(pair) for pair in pairs]) if pairs else "all",
            "sink_layer": reading.focus.layer,
            "x_y_units": "pixels of the original image",
            **of_token(self, reading.position, reading.focus.row_of),
            **of_run(self, reading.settings),
            **acting(reading.acts),
        }
        return Labelled(grid, both).to_xarray(quantity, coords, about)

    def head_value(
        self,
        name: HeadValue = "non_sink_ratio",
        token: TokenName | None = None,
        *,
        settings: Settings = None,
        row_of: RowOf = "query",
        as_xarray: bool = False,
    ) -> Any:
        """A quantity of every head for one token, (L, H) float32.

        `name`: non_sink_ratio (r of Eq. 3), visual_mass and sink_mass (shares of the row), entropy
        (nats), contribution (the image's part of all keys' contributions).
        """
        reading = self.read(token, settings=settings, row_of=row_of)
        values = reading.head_value(name)
        told = "image_contribution" if name == "contribution" else name
        return self._of_heads(told, values, reading, as_xarray)

    def image_centric(
        self,
        query: int | None = None,
        settings: Settings = None,
        *,
        token: TokenName | None = None,
        as_xarray: bool = False,
    ) -> Any:
        """Image-centric heads for one token, (L, H) bool (Sec. 5.1)."""
        number = self._query(query, token)
        found = Recording.image_centric(self, number, settings)
        if not as_xarray:
            return found
        reading = self.read(int(self.query_positions[number]), settings=self._settings(settings))
        return self._of_heads("image_centric", found, reading, True)

    def ledger(
        self,
        token: TokenName | None = None,
        layer: Pick = None,
        head: Pick = None,
        *,
        settings: Settings = None,
        row_of: RowOf = "query",
    ) -> Ledger:
        """Where the row lies before and after local redistribution: five accounts, shares of the
        row, mean over the chosen heads (Sec. 5.2)."""
        return self.read(token, layer, head, settings=settings, row_of=row_of).ledger

    def contributions(
        self,
        token: TokenName | None = None,
        layer: Pick = None,
        head: Pick = None,
        *,
        settings: Settings = None,
        row_of: RowOf = "query",
    ) -> Contributions:
        """What BOS, sinks, non-sinks and text add to the residual stream, over the chosen heads
        (Sec. 4.2, Fig. 3c)."""
        return contributed.contributions(
            self.read(token, layer, head, settings=settings, row_of=row_of)
        )

    def image_centric_share(self, settings: Settings = None, *, as_xarray: bool = False) -> Any:
        """Image-centric heads / all heads of each row, (Q,) float32, 0 to 1 (App. A.3, Fig. 10).

        Reads every row once.
        """
        chosen = self._settings(settings)
        found = shares.image_centric_share(self, chosen)
        if not as_xarray:
            return found
        coords = coordinates(self, ("query",), self.query_positions)
        return Labelled(found, ("query",)).to_xarray(
            "image_centric_share", coords, described(self, "image_centric_share", chosen)
        )

    # ---------------------------------------------------------------------------- plumbing

    def _query(self, query: int | None, token: TokenName | None) -> int:
        if token is not None and query is None:
            return query_of(self, find_token(self, token))
        if query is not None and token is None:
            return checked_index("query", query, len(self.query_positions))
        raise VarStudioError(
            "A row goes by its token or by its query, one of both.",
            'Write token="cat", token=117, or query=0.',
        )

    def _asked(
        self,
        name: str,
        row: Callable[[int], Floats],
        query: int | slice | Sequence[int] | None,
        token: Words | None,
        layer: Pick,
        head: Pick,
        as_xarray: bool,
        settings: Redistribution | None,
    ) -> Any:
        if isinstance(token, list) or several(query):
            if token is not None and query is not None:
                self._query(0, 0)  # says what is wrong
            named = token if isinstance(token, list) else None
            numbers = (
                indices("query", query, len(self.query_positions)).tolist()
                if named is None
                else [self._query(None, each) for each in named]
            )
            if not numbers:
                raise VarStudioError("No token was named.", "Name some.")
            many = True
        else:
            numbers, many = [self._query(query, token)], False  # type: ignore[arg-type]
        dims = ("layer", "head", "key")
        parts = [Labelled(row(n), dims).taken(layer=layer, head=head) for n in numbers]
        first = parts[0]
        if many:
            values = np.stack([part.values for part in parts])
            values.setflags(write=False)
            first = Labelled(values, ("query", *first.dims), first.index, first.means)
        if not as_xarray:
            return first.values
        positions = self.query_positions[numbers]
        coords = coordinates(self, first.dims, positions, first, settings)
        about = described(self, name, settings)
        if not many:
            about |= of_token(self, int(positions[0]))
        return first.to_xarray(name, coords, about)

    def _of_keys(
        self,
        name: str,
        values: npt.NDArray[Any],
        layer: Pick,
        head: Pick,
        as_xarray: bool,
        settings: Redistribution | None,
    ) -> Any:
        with_heads = values.ndim == 3
        part = Labelled(values, ("layer", "head", "key") if with_heads else ("layer", "key"))
        part = part.taken(layer=layer, head=head) if with_heads else part.taken(layer=layer)
        if not as_xarray:
            return part.values
        coords = coordinates(self, part.dims, None, part, settings)
        return part.to_xarray(name, coords, described(self, name, settings))

    def _of_heads(
        self, name: str, values: npt.NDArray[Any], reading: Reading, as_xarray: bool
    ) -> Any:
        if not as_xarray:
            return values
        part = Labelled(values, ("layer", "head")).taken(layer=None, head=None)
        about = described(self, name, reading.settings) | of_token(
            self, reading.position, reading.focus.row_of
        )
        return part.to_xarray(name, {}, about)

    def _view(self, image: int, view: int | None) -> tuple[int, View]:
        """The one view to lay values out in, and its number."""
        layout = self.layout
        checked_index("image", image, len(layout.image_sizes))
        if not layout.known:
            choose_views(layout, image, view)
            return 0, layout.strip()
        shown = choose_views(layout, image, view).views
        if len(shown) == 1:
            return shown[0], layout.views[shown[0]]
        named = ", ".join(f"{n} ({layout.views[n].name})" for n in shown)
        raise VarStudioError(
            f"Image {image} is shown in {len(shown)} views.",
            f"Name one with view=: {named}." if shown else "Choose another image.",
        )

    @staticmethod
    def _visual_values(reading: Reading, moment: Moment, quantity: Quantity) -> Floats:
        """(V,) float32."""
        if quantity == "attention":
            return reading.map(moment)
        if moment != "difference":
            return visual_map(reading, moment, quantity)
        return visual_map(reading, "after", quantity) - visual_map(reading, "before", quantity)
