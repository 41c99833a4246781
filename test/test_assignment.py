"""The cheapest assignment, against all that there are."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pvm_perception.vision.assignment import assign

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


def best(costs):
    """Return (pairs, cost) of the best of all assignments."""
    rows, cols = costs.shape
    found = []
    for columns in itertools.permutations([*range(cols), *[None] * rows], rows):
        pairs = [(i, j) for i, j in enumerate(columns) if j is not None and np.isfinite(costs[i, j])]
        found.append((-len(pairs), sum(costs[p] for p in pairs)))
    count, cost = min(found)
    return -count, cost


@given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.8, 1.0]))
def test_no_other_assignment_has_more_pairs_or_costs_less(shape, seed, forbidden):
    rng = np.random.default_rng(seed)
    costs = rng.normal(0, 2, shape)
    costs[rng.random(shape) < forbidden] = np.inf
    pairs = assign(costs)
    rows, cols = ({p[k] for p in pairs} for k in (0, 1))
    assert len(pairs) == len(rows) == len(cols)
    count, cost = best(costs)
    assert len(pairs) == count
    assert np.isclose(sum(costs[p] for p in pairs), cost)


def test_nothing_to_assign():
    assert assign(np.zeros((0, 3))) == []
    assert assign(np.zeros((3, 0))) == []


def test_the_nearest_pair_yields_where_that_leaves_another_without_one():
    assert assign(np.array([[0.1, 0.5], [0.3, np.inf]])) == [(0, 1), (1, 0)]
