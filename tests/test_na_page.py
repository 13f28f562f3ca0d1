"""The page on NA-ALISTA says what its tables carry."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def rows(name):
    with (ROOT / "results" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def differences(model, n, snr):
    """Ours minus published over the layers."""
    found = [row for row in rows("na-fig6/results.csv") if (row["model"], row["n"], row["snr"]) == (model, n, snr)]
    return {int(row["layers"]): float(row["difference"]) for row in found}


def test_na_alista_is_where_the_published_one_is_or_below():
    points = {(n, snr): differences("NA_ALISTA_UR_128", n, snr) for n in ("1000", "2000") for snr in ("40", "20")}
    assert sum(map(len, points.values())) == 36
    assert max(max(by_layers.values()) for by_layers in points.values()) <= 0.19
    assert points["1000", "40"][16] == pytest.approx(-0.6, abs=0.05)
    assert points["2000", "40"][16] == pytest.approx(-1.2, abs=0.05)


def test_what_is_said_of_alista_and_aglista():
    at = {n: differences("ALISTA", n, "40") for n in ("500", "1000", "2000")}
    assert (round(at["500"][16], 1), round(at["1000"][16], 1)) == (-1.0, -2.2)
    assert [round(at["2000"][k], 1) for k in (12, 14, 16)] == [1.6, 2.1, 5.1]
    worse = [
        row
        for row in rows("na-fig6/results.csv")
        if (row["model"], row["n"], row["layers"]) == ("ALISTA", "2000", "16")
    ]
    assert all(float(row["validation_db"]) > float(row["published_db"]) + 2 for row in worse)
    gated = {n: differences("AGLISTA", n, "40") for n in ("1000", "2000")}
    assert (round(gated["1000"][16], 1), round(gated["2000"][16], 1), round(gated["2000"][8], 1)) == (-1.0, -0.1, 0.8)


def test_ista_and_fista_are_where_they_were_published():
    found = [row for row in rows("na-fig6/results.csv") if row["model"] in ("ISTA", "FISTA")]
    assert len(found) == 210
    assert max(abs(float(row["difference"])) for row in found) < 0.05


def test_the_weights_explain_the_difference_at_500_unknowns():
    found = rows("na-weights/results.csv")
    theirs = [abs(float(row["difference"])) for row in found if (row["weights"], row["snr"]) == ("published", "20")]
    assert len(theirs) == 9
    assert max(theirs) < 0.2
    about = {row["weights"]: (float(row["coherence"]), float(row["noise"])) for row in found}
    assert about["exact"] == pytest.approx((0.205, 2.0), abs=0.003)
    assert about["published"] == pytest.approx((0.231, 1.45), abs=0.003)
    exact = {int(row["layers"]): float(row["difference"]) for row in found
             if (row["weights"], row["snr"]) == ("exact", "20")}  # fmt: skip
    assert all(exact[k] < -0.5 for k in (1, 2, 4))
    assert all(exact[k] > 0.7 for k in (8, 10, 12, 14, 16))


def test_what_is_said_of_alista_at():
    at = differences("ALISTA_AT", "2000", "40")
    assert (round(at[14], 1), round(at[16], 1)) == (10.7, -1.7)
    assert max(value for layers, value in at.items() if layers != 14) <= 0.23


def test_what_is_said_of_recipes():
    found = {
        (row["model"], row["lr"], row["alone"], row["harder"]): float(row["validation_db"])
        for row in rows("na-recipes/recipes.csv")
        if row["layers"] == "10"
    }
    in_use, grown = found["AGLISTA", "0.01", "2", "True"], found["AGLISTA", "0.01", "0", "True"]
    assert (in_use, grown) == (pytest.approx(-30.8, abs=0.05), pytest.approx(-25.3, abs=0.05))
    assert in_use - found["AGLISTA", "0.01", "2", "False"] == pytest.approx(0.3, abs=0.05)
    alista = found["ALISTA", "0.01", "0", "True"]
    assert alista - found["ALISTA", "0.01", "0", "False"] == pytest.approx(0.4, abs=0.05)
    assert found["ALISTA", "0.003", "0", "True"] - alista == pytest.approx(0.1, abs=0.05)
