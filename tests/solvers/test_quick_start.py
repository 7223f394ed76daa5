"""The start of `salver-solve` leaves numpy and scipy as they are for whoever imports them as usual."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from salver.solvers.attack.surrogate import sigmoid

SCRIPT = """
import sys
from salver.solvers.quick_start import quick_imports
with quick_imports():
    import scipy.sparse
print(*(name for name in ("f2py", "ma", "testing") if f"numpy.{name}" in sys.modules))
import numpy
numpy.testing.assert_array_equal(scipy.sparse.eye_array(2).toarray(), numpy.ma.array([[1, 0], [0, 1]]))
print(numpy.testing.__file__ is not None, numpy.polynomial.Polynomial([1, 2])(2), numpy.f2py.__name__)
with quick_imports():
    print(numpy.testing.assert_equal.__name__)
"""


@pytest.mark.slow
def test_what_is_not_loaded_at_first_is_there_when_it_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "True 5.0 numpy.f2py", "assert_equal"]


def test_the_sigmoid_keeps_its_small_values() -> None:
    z = np.array([-800.0, -50.0, -1.0, 0.0, 1.0, 50.0, 800.0])
    found = sigmoid(z)
    assert found == pytest.approx([0.0, np.exp(-50.0), 0.2689414213699951, 0.5, 0.7310585786300049, 1.0, 1.0])
    assert found[1] == pytest.approx(np.exp(-50.0), rel=1e-12)
