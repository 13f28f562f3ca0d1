"""The slips of `mutations.py` can still be made: their texts are where they were. `make mutations` makes them."""

import ast
from pathlib import Path

import pytest

from mutations import MUTATIONS, ROOT


@pytest.mark.parametrize("slip", MUTATIONS, ids=lambda slip: slip.name)
def test_a_slip_can_be_made(slip):
    text = (ROOT / "src" / "pursuit" / slip.file).read_text()
    assert text.count(slip.old) == 1
    assert ast.dump(ast.parse(text.replace(slip.old, slip.new))) != ast.dump(ast.parse(text))
    assert all((Path(__file__).parent / f"{name}.py").is_file() for name in slip.tests.split())
