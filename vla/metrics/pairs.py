"""All layer pairs of a metric as compiled programs over the devices.

A metric prepares every layer once and then compares every pair of layers under every pairing of the items. Both steps
are pure functions of arrays. `jax.lax.map` takes them over layers, small ones several at a time by `jax.vmap`, under
`jax.jit` and `jax.shard_map`: layers of both sides are spread over the devices of the mesh `x_layer` x `y_layer`, and
one device, several devices, several processes and accelerators run the same programs.

Everything is float64. A TPU has no factorisations in float64: what factorises runs on the CPU of its host.

N items, D and E units, X and Y layers, P pairings of items, S subsets of items.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from vla import devices
from vla.metrics.gram import moments
from vla.metrics.metric import Advance, Metric, Scores, ignore

# Memory on each device for what is prepared of the layers of both sides; more layers are compared in portions.
MOST_BYTES = 1 << 31

# Layers are prepared, and pairs compared, together up to this size: what is small is not worth a turn of a loop.
_TOGETHER = 1 << 19

# Pairings that one call of a program goes through, so that progress shows and little is held.
_PAIRINGS = 16

# A triangle is multiplied in so many bands of rows, each up to the square that it has on the diagonal: N^2 / 8 entries
# too many. It takes some time to compile, which few items do not repay.
_BANDS, _FEW = 4, 256

State = Any
"""What is prepared of a layer: a pytree of arrays."""

Selection = tuple[np.ndarray | None, np.ndarray | None]
"""Rows of the items of x, and of y, in their order; None for all."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PairMetric(Metric):
    """A metric that compares two prepared layers.

    Attributes:
      prepare: From a layer [N, D], or its matrix, and the settings to its state, traceable by JAX.
      compare: From two states and the settings to the score, traceable. None where states are symmetric matrices
        [N, N] and the score is their inner product: then all pairs of layers are one product of matrices, and the mean
        over all pairings is known.
      matrix: From a layer and the settings to a matrix [N, N], of which a subset of the items takes a part; it is made
        once whatever the subsets. None where `prepare` takes the layer itself.
      distances: From a matrix of distances between items [N, N] and the settings to what `prepare` takes, for a metric
        with `matrix`, or else to the state. None where a metric needs activations.
      permute: From a state and an order of the items to the state of the reordered layer, traceable. None where the
        layer must be prepared again.
      settle: From the states of some layers, the settings and the shape of a layer to what is compared: the states cut
        to the size that they need, which is known only now. Or to a number, with which `prepare` must be called again
        as `width`, since what it made did not fit. It raises ValueError for states that cannot be compared.
      finish: What is left to do on the host: from what `compare` returns, and the settings, to the score.
      factorises: Whether `compare` factorises matrices.
    """

    prepare: Callable[..., State] = dataclasses.field(repr=False)
    compare: Callable[..., Array] | None = dataclasses.field(default=None, repr=False)
    matrix: Callable[..., Array] | None = dataclasses.field(default=None, repr=False)
    distances: Callable[..., State] | None = dataclasses.field(default=None, repr=False)
    permute: Callable[..., State] | None = dataclasses.field(default=None, repr=False)
    settle: Callable[..., State] | None = dataclasses.field(default=None, repr=False)
    finish: Callable[..., float] | None = dataclasses.field(default=None, repr=False)
    factorises: bool = False

    def check_rdm(self, rdm: bool) -> None:
        """See `Metric.check_rdm`."""
        super().check_rdm(rdm and self.distances is None)

    def under(self, settings: Any) -> "PairMetric":
        """The metric as it is computed under these settings."""
        return self

    def scores(
        self,
        x: Float[np.ndarray, "X N D"],
        y: Float[np.ndarray, "Y N E"],
        settings: Any,
        pairings: Int[np.ndarray, "P N"],
        advance: Advance = ignore,
        units: bool = False,
        rdm: bool = False,
    ) -> Scores:
        """See `Metric.scores`."""
        inner = self.under(settings).compare is None
        table = self.all_pairs(x, y, settings, pairings, advance, rdm=rdm, expected=inner)
        return Scores(table[:-1], table[-1]) if inner else Scores(table)

    @devices.in_float64
    def all_pairs(
        self,
        x: Float[np.ndarray, "X N _"],
        y: Float[np.ndarray, "Y N _"],
        settings: Any = None,
        pairings: Int[np.ndarray, "P N"] | None = None,
        advance: Advance = ignore,
        *,
        rdm: bool = False,
        expected: bool = False,
        most_bytes: int = MOST_BYTES,
    ) -> Float[np.ndarray, "R X Y"]:
        """Scores [P, X, Y] of all pairs of layers; NaN for a layer that is the same for all items.

        Args:
          x: Activations of one model.
          y: Activations of the other model on the same items, or distances between the items.
          settings: Of the metric; None for its defaults.
          pairings: Row p pairs item i of `x` with item `pairings[p, i]` of `y`; None pairs i with i.
          advance: See `Advance`.
          rdm: Whether `y` has distances between items, [Y, N, N].
          expected: Whether one more row follows: the exact mean over all pairings, of a metric without `compare`.
          most_bytes: Memory on each device for what is prepared: a third for layers of `x`, two thirds for those of
            `y`, which are prepared once for each portion of `x`.

        Raises:
          ValueError: Input that the metric refuses.
        """
        self.check_rdm(rdm)
        settings = self.settings() if settings is None else settings
        metric = self.under(settings)
        identity = np.arange(x.shape[1])
        pairings = identity[None] if pairings is None else pairings
        selections: list[Selection] = [(None, None)]
        orders: np.ndarray | None = pairings
        if len(pairings) == 1 and np.array_equal(pairings[0], identity):
            orders = None
        elif metric.permute is None and metric.compare is not None:
            selections, orders = [(None, order) for order in pairings], None
        table = np.empty((len(pairings) + expected, len(x), len(y)))
        for block in _blocks(metric, settings, x, y, rdm, selections, orders, most_bytes):
            rows = block.selection + block.first + np.arange(block.scores.shape[-1])
            table[np.ix_(rows, block.left, block.right)] = np.moveaxis(block.scores, -1, 0)
            if expected:
                table[-1][np.ix_(block.left, block.right)] = block.expected
            advance(block.scores.size * self.cells(settings))
        return table

    @devices.in_float64
    def scores_of_subsets(
        self,
        x: Float[np.ndarray, "X N D"],
        y: Float[np.ndarray, "Y N E"],
        settings: Any,
        subsets: Sequence[Int[np.ndarray, "_"]],
        advance: Advance = ignore,
        rdm: bool = False,
        most_bytes: int = MOST_BYTES,
    ) -> Float[np.ndarray, "S X Y"]:
        """See `Metric.scores_of_subsets`."""
        self.check_rdm(rdm)
        table, selections = np.empty((len(subsets), len(x), len(y))), [(rows, rows) for rows in subsets]
        for block in _blocks(self.under(settings), settings, x, y, rdm, selections, None, most_bytes):
            table[block.selection][np.ix_(block.left, block.right)] = block.scores[..., 0]
            advance(block.scores.size * self.cells(settings))
        return table


class _Block(NamedTuple):
    """Scores of some pairs of layers: for one selection of the items, under pairings from number `first` on."""

    selection: int
    first: int
    left: Int[np.ndarray, " x"]
    right: Int[np.ndarray, " y"]
    scores: Float[np.ndarray, "x y p"]
    expected: Float[np.ndarray, "x y"]


def _blocks(
    metric: PairMetric,
    settings: Any,
    x: Float[np.ndarray, "X N _"],
    y: Float[np.ndarray, "Y N _"],
    rdm: bool,
    selections: Sequence[Selection],
    orders: Int[np.ndarray, "P N"] | None,
    most_bytes: int,
) -> Iterator[_Block]:
    mesh = devices.layer_mesh(len(x), len(y))
    sides = [_Side(metric, settings, mesh, *side) for side in ((x, devices.X_LAYER, False), (y, devices.Y_LAYER, rdm))]
    left = devices.portions(len(x), sides[0].bytes_each(), most_bytes // 3, mesh.shape[devices.X_LAYER])
    each = sides[1].bytes_each()
    if metric.finish is not None:
        each = max(each, _bytes_of_pair(metric, settings, *sides) * len(left[0].filled))
    right = devices.portions(len(y), each, most_bytes * 2 // 3, mesh.shape[devices.Y_LAYER])
    for of_x in left:
        bases_x, a = sides[0].bases(of_x), None
        for of_y in right:
            bases_y = sides[1].bases(of_y)
            for number, (rows_x, rows_y) in enumerate(selections):
                if a is None or rows_x is not None:
                    a = sides[0].states(bases_x, rows_x)
                b = sides[1].states(bases_y, rows_y)
                for first, scores, expected in _compared(metric, settings, mesh, a, b, orders):
                    inside = slice(len(of_x.layers)), slice(len(of_y.layers))
                    yield _Block(number, first, of_x.layers, of_y.layers, scores[inside], expected[inside])


class _Shapes(NamedTuple):
    """Of one layer: of what its state is prepared from, and of its state."""

    basis: jax.ShapeDtypeStruct
    state: State


@functools.lru_cache(maxsize=256)
def _shapes(metric: PairMetric, settings: Any, shape: tuple[int, int], dtype: np.dtype, rdm: bool) -> _Shapes:
    basis = jax.ShapeDtypeStruct((1, *shape), dtype)
    of_settings = {"metric": metric, "settings": settings}
    if metric.matrix is not None and not rdm:
        basis = jax.eval_shape(functools.partial(_matrices, **of_settings), basis)
    state, _ = jax.eval_shape(functools.partial(_prepared, **of_settings, rdm=rdm), basis)
    return _Shapes(*(jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), (basis, state))))


def _bytes(shapes: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _bytes_of_pair(metric: PairMetric, settings: Any, x: "_Side", y: "_Side") -> int:
    """Of what is to be finished of a pair of layers."""
    compare = metric.compare
    assert compare is not None
    return _bytes(jax.eval_shape(lambda a, b: compare(a, b, settings), x.shapes().state, y.shapes().state))


class _Side(NamedTuple):
    """The layers of one model, over one axis of the mesh."""

    metric: PairMetric
    settings: Any
    mesh: Mesh
    layers: Float[np.ndarray, "L N _"]
    axis: str
    rdm: bool

    def shapes(self) -> _Shapes:
        """Of one layer."""
        return _shapes(self.metric, self.settings, self.layers.shape[1:], self.layers.dtype, self.rdm)

    def bytes_each(self) -> int:
        """Of a layer, its matrix and its state."""
        return self.layers[0].nbytes + _bytes(self.shapes())

    @property
    def _is_basis(self) -> bool:
        """Whether states are prepared from the layers themselves."""
        return self.rdm or self.metric.matrix is None

    def _program(self, function: Callable, inputs: tuple, **more: Any) -> Callable:
        mesh = devices.factorising(self.mesh)
        return devices.over_layers(function, mesh, inputs, metric=self.metric, settings=self.settings, **more)

    def bases(self, portion: devices.Portion) -> Array:
        """What the states of layers are prepared from."""
        layers = self.layers[portion.filled]
        if self._is_basis:
            return devices.placed(layers, devices.factorising(self.mesh), self.axis)
        return self._program(_matrices, (self.axis,))(layers)

    def states(self, bases: Array, rows: np.ndarray | None) -> tuple[State, Array]:
        """What `_prepared` gives for some rows of the items, or for all, settled."""
        inputs, arguments = ((self.axis,), (bases,)) if rows is None else ((self.axis, None), (bases, rows))
        shape = bases.shape[1] if rows is None else len(rows), self.layers.shape[2]
        width = None
        while True:
            states, alike = self._program(_prepared, inputs, rdm=self.rdm, width=width)(*arguments)
            settled = states if self.metric.settle is None else self.metric.settle(states, self.settings, shape)
            if not isinstance(settled, int):
                return settled, alike
            width = settled


def _matrices(layers: Float[Array, "L N D"], *, metric: PairMetric, settings: Any) -> Float[Array, "L N N"]:
    matrix = metric.matrix
    assert matrix is not None
    return jax.lax.map(lambda layer: matrix(layer, settings), layers, batch_size=_together(layers[0]))


def _prepared(
    bases: Float[Array, "L N _"],
    rows: Array | None = None,
    *,
    metric: PairMetric,
    settings: Any,
    rdm: bool,
    width: int | None = None,
) -> tuple[State, Array]:
    """States of layers, and with each whether the layer is the same for all items, or the sums of its matrix."""
    of_pairs = rdm or metric.matrix is not None

    def one(basis: Float[Array, "N _"]) -> tuple[State, Array]:
        if rows is not None:
            basis = basis[rows[:, None], rows[None]] if of_pairs else basis[rows]
        alike = jnp.asarray(False) if of_pairs else all_alike(basis)
        if rdm:
            assert metric.distances is not None
            basis = metric.distances(basis, settings)
        if rdm and metric.matrix is None:
            return basis, alike
        state = metric.prepare(basis, settings, **({} if width is None else {"width": width}))
        return state, alike if metric.compare else _sums(state)

    return jax.lax.map(one, bases, batch_size=_together(bases[0]))


def all_alike(layer: Float[Array, "N D"]) -> Bool[Array, ""]:
    """Whether every unit is the same for all items, up to the rounding error of its mean."""
    return jnp.all(moments(layer.astype(jnp.float64)).constant)


def _together(*trees: Any) -> int | None:
    """How many are computed at a time; None for one, which then needs no axis of its own."""
    count = _TOGETHER // _bytes(trees)
    return count if count > 1 else None


def _compared(
    metric: PairMetric,
    settings: Any,
    mesh: Mesh,
    x: tuple[State, Array],
    y: tuple[State, Array],
    orders: Int[np.ndarray, "P N"] | None,
) -> Iterator[tuple[int, Float[np.ndarray, "x y p"], Float[np.ndarray, "x y"]]]:
    """Scores under some pairings after the other: the number of the first, and their mean over all pairings."""
    sides, axes = (devices.X_LAYER, devices.Y_LAYER), (devices.X_LAYER, devices.Y_LAYER)
    function = _inner_products if metric.compare is None else _pairwise
    where = devices.factorising(mesh) if metric.factorises else mesh
    inputs = sides if orders is None else (*sides, None)
    program = devices.over_layers(function, where, inputs, axes, metric=metric, settings=settings)
    each = 1 if metric.finish is not None else _PAIRINGS
    for first in range(0, 1 if orders is None else len(orders), each):
        some = (
            () if orders is None else (orders[np.minimum(first + np.arange(min(each, len(orders))), len(orders) - 1)],)
        )
        values, expected = devices.fetched(program(x, y, *some))
        if orders is not None:
            values = values[:, :, : len(orders) - first]
        if metric.finish is not None:
            values = _finished(metric, settings, values)
        yield first, values, expected


def _finished(metric: PairMetric, settings: Any, values: np.ndarray) -> Float[np.ndarray, "x y p"]:
    """The scores from what was compared, by the cores of this host."""
    assert metric.finish is not None
    finish, (height, width, count) = metric.finish, values.shape[:3]

    def one(place: tuple[int, int, int]) -> float:
        # A layer that is the same for all items has nothing to compare.
        return np.nan if np.isnan(values[place]).all() else finish(values[place], settings)

    places = list(itertools.product(range(height), range(width), range(count)))
    return np.reshape(devices.on_cores(one, places), (height, width, count))


def _pairwise(
    x: tuple[State, Array], y: tuple[State, Array], orders: Array | None = None, *, metric: PairMetric, settings: Any
) -> tuple[Float[Array, "x y p *v"], Float[Array, "x y"]]:
    (a, alike_a), (b, alike_b) = x, y
    assert metric.compare is not None
    compare = functools.partial(metric.compare, settings=settings)
    permute = metric.permute
    together = _together(jax.tree.map(lambda leaf: leaf[0], (a, b)))

    def table(states: State) -> Array:
        def row(state: State) -> Array:
            return jax.lax.map(lambda other: compare(state, other), states, batch_size=together)

        return jax.lax.map(row, a)

    def under(order: Array) -> Array:
        assert permute is not None
        return table(jax.vmap(permute, in_axes=(0, None))(b, order))

    values = table(b)[None] if orders is None else jax.lax.map(under, orders)
    values = jnp.moveaxis(values, 0, 2)
    alike = alike_a[:, None] | alike_b
    shape = (*alike.shape, *(1,) * (values.ndim - 2))
    return jnp.where(alike.reshape(shape), jnp.nan, values), jnp.full(alike.shape, jnp.nan)


def _inner_products(
    x: tuple[State, Array], y: tuple[State, Array], orders: Array | None = None, *, metric: PairMetric, settings: Any
) -> tuple[Float[Array, "x y p"], Float[Array, "x y"]]:
    """Inner products of all pairs of symmetric matrices, and their means over all pairings."""
    (a, sums_a), (b, sums_b) = x, y
    n, nothing = a.shape[1], jnp.zeros((len(a), len(b)))
    if orders is None:
        # Row by row: one product of all entries takes three times as long on CPUs.
        products = jax.lax.fori_loop(0, n, lambda i, total: total + a[:, i] @ b[:, i].T, nothing)[..., None]
    else:
        # Numbers of one place of all matrices side by side: another order of the items moves whole rows.
        pairs_first = jnp.moveaxis(b, 0, -1), jnp.moveaxis(a, 0, 1)
        products = jnp.moveaxis(jax.lax.map(lambda order: _reordered(*pairs_first, order), orders), 0, -1)
    # The mean of <A, P B P^T> over all orders P is tr A tr B / N + off(A) off(B) / (N (N - 1)).
    scale = jnp.array([n, max(n * (n - 1), 1)])
    return products, (sums_a / scale) @ sums_b.T


def _sums(matrix: Float[Array, "N N"]) -> Float[Array, "2"]:
    """The trace, and the sum beside the diagonal."""
    trace = jnp.trace(matrix)
    return jnp.stack([trace, jnp.ones(len(matrix)) @ (matrix @ jnp.ones(len(matrix))) - trace])


def _reordered(b: Float[Array, "N N Y"], a: Float[Array, "N X N"], order: Int[Array, " N"]) -> Float[Array, "X Y"]:
    """Inner products with matrices under another order of the items, from the lower triangle in bands of rows."""
    n, total = len(b), jnp.zeros((a.shape[1], b.shape[2]))
    bands = _BANDS if n >= _FEW else 1
    edges = [n * i // bands for i in range(bands + 1)]
    for start, stop in itertools.pairwise(edges):
        # Entries left of the square on the diagonal count twice, for those above it.
        weights, columns = jnp.where(jnp.arange(stop) < start, 2.0, 1.0), order[:stop]

        def add(total: Array, i: Array, weights: Array = weights, columns: Array = columns) -> tuple[Array, None]:
            return total + (a[i, :, : len(columns)] * weights) @ b[order[i]][columns], None

        total, _ = jax.lax.scan(add, total, jnp.arange(start, stop))
    return total
