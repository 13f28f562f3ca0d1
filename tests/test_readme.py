"""The README and the pages are true: the example runs, and tables are the committed results."""

import csv
import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import typer

from pursuit import cli
from pursuit.experiments.na import family
from pursuit.experiments.na.alista import MODELS
from pursuit.experiments.na.oracle import LABELS
from pursuit.experiments.sea.net import TITLES, WEIGHTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def as_markdown(path):
    """A committed table as the README shows it."""
    heads = ["rank", "method", "NMSE (dB)", "support found", "residual", "non-zeros", "ms/signal", "steps", "status"]
    lines = [
        f"| {' | '.join(heads)} |",
        "|" + "|".join("---" if h in ("method", "status") else "--:" for h in heads) + "|",
    ]
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            cells = [
                row["rank"],
                f"`{row['method']}`",
                f"{float(row['error_db']):.2f}",
                f"{100 * float(row['support_recovered']):.0f} %",
                f"{float(row['residual']):.2e}",
                f"{float(row['nonzeros']):.1f}",
                f"{float(row['ms_per_signal']):.1f}",
                row["steps"],
                row["status"],
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def networks_as_markdown(path, snr="40"):
    """Published and our NMSE at K = 16, as the page on NA-ALISTA shows them; seeds side by side."""
    found = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if (row["layers"], row["snr"]) == ("16", snr) and row["test_db"]:
                found.setdefault(row["model"], {}).setdefault(int(row["n"]), []).append(row)
    sizes = (500, 1000, 2000)
    lines = ["| | " + " | ".join(f"N = {n}: published | ours" for n in sizes) + " |", "|---|" + "--:|" * 2 * len(sizes)]
    for model, by_size in found.items():
        cells = [MODELS[model].label.partition(" (")[0]]
        for n in sizes:
            rows = by_size.get(n, [])
            theirs = {row["published_db"] for row in rows} - {""}
            cells += [
                ", ".join(f"{float(value):.2f}" for value in theirs),
                ", ".join(f"{float(row['test_db']):.2f}" for row in rows),
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def communication_as_markdown(path):
    """Published and our NMSE at K = 16 for every number of pilots, and that of least squares on the true support."""
    pilots, found = ("100", "75", "50"), {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["layers"] == "16" and row["test_db"]:
                found.setdefault(MODELS[row["model"]].label, {})[row["m"]] = row["published_db"], row["test_db"]
    with open(path.with_name("oracle.csv"), newline="") as file:
        told = {row["m"]: ("", row["test_db"]) for row in csv.DictReader(file)}
    lines = ["| | " + " | ".join(f"{m} pilots: published | ours" for m in pilots) + " |", "|---|" + "--:|" * 6]
    for label, by_pilots in {**found, "least squares on the true support": told}.items():
        cells = [f"{float(value):.2f}" if value else "" for m in pilots for value in by_pilots.get(m, ("", ""))]
        lines.append(f"| {' | '.join([label, *cells])} |")
    return "\n".join(lines)


def oracle_as_markdown(path):
    """Error, what is told, parameters and time of every method, as the page on NA-ALISTA shows them."""
    lines = ["| | N | told | NMSE (dB) | parameters | ms/signal | times NA-ALISTA's |", "|---|--:|---|--:|--:|--:|--:|"]
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            label = MODELS[row["method"]].label if row["method"] in MODELS else LABELS[row["method"]]
            times = [f"{float(row[name]):.2f}" if row[name] else "" for name in ("ms_per_signal", "times_na_alista")]
            told = row.get("told", "")
            cells = [
                label.partition(" (not")[0], row["n"], told, f"{float(row['test_db']):.2f}", row["parameters"], *times,
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def family_as_markdown(path):
    """Costs and error of every network of the ISTA family, and the error with its other recipe."""
    with open(path, newline="") as file:
        rows = [{**row, "validation_db": float(row["validation_db"])} for row in csv.DictReader(file)]
    heads = ["NMSE (dB)", "median", "NMSE with the other recipe", "trained numbers", "training (s)", "ms/signal"]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
    for model, row in family.chosen(rows).items():
        others = [other["test_db"] for other in rows if other["model"] == model and other is not row]
        cells = [
            family.MODELS[model].label, f"{float(row['test_db']):.2f}", f"{float(row['median_db']):.2f}",
            ", ".join(f"{float(db):.2f}" for db in others), row["parameters"],
            f"{float(row['training_s'] or 0):.0f}", f"{float(row['ms_per_signal']):.3f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


LEVELS = {"40": "40 dB", "20": "20 dB", "inf": "no noise"}


def deconvolution_as_markdown(path):
    """Mean support distance at three noise levels and two k; methods that are nowhere 0.003 apart share a row."""
    at, found = [(snr, k) for snr in LEVELS for k in ("20", "40")], {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if (row["snr_db"], row["k"]) in at:
                cell = float(row["support_distance"]), float(row["standard_error"])
                found.setdefault(row["method"], {})[row["snr_db"], row["k"]] = cell
    lines = [f"| | {' | '.join(f'{LEVELS[snr]}, k = {k}' for snr, k in at)} |", "|---|" + "--:|" * len(at)]
    groups = []
    for method, cells in found.items():
        near = [g for g in groups if all(abs(found[g[0]].get(c, (9,))[0] - cells[c][0]) <= 0.003 for c in cells)]
        if near:
            near[0].append(method)
        else:
            groups.append([method])
    for group in sorted(groups, key=lambda g: found[g[0]]["40", "20"][0] if ("40", "20") in found[g[0]] else 9):
        cells = [found[group[0]].get(c) for c in at]
        shown = [f"{cell[0]:.3f} ± {cell[1]:.3f}" if cell else "" for cell in cells]
        lines.append(f"| {' | '.join([', '.join(f'`{method}`' for method in group), *shown])} |")
    return "\n".join(lines)


def ablation_as_markdown(path):
    """By how much each combination is behind SEA+, and the distance of SEA+ itself."""
    found, at = {}, []
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if (row["snr_db"], row["k"]) not in at:
                at.append((row["snr_db"], row["k"]))
            found.setdefault(row["parts"], {})[row["snr_db"], row["k"]] = row
    at = [(snr, k) for snr in LEVELS for k in ("10", "20", "30", "40", "50") if (snr, k) in at and snr != "inf"]
    at += [("inf", k) for k in ("20",)]
    lines = [f"| | {' | '.join(f'{LEVELS[snr]}, k = {k}' for snr, k in at)} |", "|---|" + "--:|" * len(at)]
    for parts, rows in found.items():
        if parts == "SEA+":
            cells = [f"{float(rows[c]['support_distance']):.3f} ± {float(rows[c]['standard_error']):.3f}" for c in at]
        else:
            cells = [f"{float(rows[c]['behind']):+.3f} ± {float(rows[c]['behind_error']):.3f}" for c in at]
        lines.append(f"| {' | '.join([parts, *cells])} |")
    return "\n".join(lines)


def phases_as_markdown(path):
    """Up to which k / m 95 % of supports are found, at three m: by the fit with its band, and counted."""
    at, found = ("16", "32", "48"), {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["m"] in at:
                fit = "above {rho}" if row["where"] == "above" else "{rho} ({rho_low} to {rho_high})"
                numbers = {name: f"{float(row[name]):.2f}" for name in ("rho", "rho_low", "rho_high", "rho_counted")}
                shown = f"{fit.format(**numbers)} | {numbers['rho_counted']}"
                found.setdefault(row["method"], {})[row["m"]] = float(row["rho"]), shown
    rows = {}
    for method, by_m in sorted(found.items(), key=lambda item: -item[1]["32"][0]):
        rows.setdefault(" | ".join(by_m[m][1] for m in at), []).append(f"`{method}`")
    lines = [f"| | {' | '.join(f'm = {m}: fit | counted' for m in at)} |", "|---|" + "--:|" * 2 * len(at)]
    return "\n".join([*lines, *(f"| {', '.join(methods)} | {cells} |" for cells, methods in rows.items())])


def times_as_markdown(path):
    """Time and missed support of our solvers and those of other packages, without noise, at two k."""
    names = {
        "omp": "`omp`", "sklearn-omp": "scikit-learn's OMP", "els": "`els`", "sea": "`sea`", "sea_plus": "`sea_plus`",
        "abess": "abess", "skscope": "skscope",
    }  # fmt: skip
    ks, found = ("20", "50"), {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["snr_db"] == "inf" and row["k"] in ks and row["method"] in names:
                found[row["method"], row["k"]] = row
    lines = ["| | " + " | ".join(f"k = {k}: ms | missed" for k in ks) + " |", "|---|" + "--:|" * 4]
    for method, name in names.items():
        rows = [found[method, k] for k in ks]
        cells = [f"{float(row['ms_per_signal']):.1f} | {float(row['support_distance']):.2f}" for row in rows]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sea_net_as_markdown(path):
    """The share of signals that every network and every solver misses, per kind of weights; seeds side by side."""
    found, kinds = {}, {name: label.partition(",")[0] for name, (_, _, label) in WEIGHTS.items()}
    kinds.update({"learned": "its own", "oracle": "oracle"})
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            share = 100 * float(row["missed"])
            shown = f"{share:.1f}" if share < 10 else f"{share:.0f}"
            found.setdefault(row["method"], {}).setdefault(row["weights"], []).append(shown)
    lines = [f"| | {' | '.join(kinds.values())} |", "|---|" + "--:|" * len(kinds)]
    lines += [
        f"| {TITLES[name]} | {' | '.join(', '.join(by_kind.get(kind, ())) for kind in kinds)} |"
        for name, by_kind in found.items()
    ]
    return "\n".join(lines)


def real_data_as_markdown(path):
    """Per data set: how far a method's training loss is above the least of all, and its loss on rows held out."""
    found, least = {}, {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["method"], {}).setdefault(row["data"], {})[row["k"]] = row
            at = row["data"], row["k"]
            least[at] = min(least.get(at, np.inf), float(row["training"]))
    data, shown = list(dict.fromkeys(at[0] for at in least)), "4" if "classification" in str(path) else "6"
    lines = [f"| | {' | '.join(f'{name}: training, mean (most) | held out, k = {shown}' for name in data)} |"]
    lines.append("|---|" + "--:|" * 2 * len(data))
    for method, by_data in found.items():
        cells = []
        for name in data:
            rows = by_data.get(name)
            if rows is None:
                cells += ["", ""]
                continue
            above = [100 * (float(row["training"]) / least[name, k] - 1) for k, row in rows.items()]
            behind, error = (1000 * float(rows[shown][key]) for key in ("behind_omp", "behind_omp_error"))
            cells += [
                f"{np.mean(above):.1f} ({max(above):.1f})",
                f"{1000 * float(rows[shown]['held_out']):.1f}" if method == "omp" else f"{behind:+.1f} ± {error:.1f}",
            ]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def sea_speed_as_markdown(path):
    """What a signal takes, plainly and by ours."""
    lines = ["| | ms per signal | times faster than plain |", "|---|--:|--:|"]
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            lines.append(f"| {row['method']} | {float(row['ms_per_signal']):.4g} | {row['times_faster']} |")
    return "\n".join(lines)


def ten_million_as_markdown(path):
    """Time and memory of every run."""
    lines = [
        "| input | | seconds | seconds of processors | MiB of the command | MiB of all |",
        "|---|---|--:|--:|--:|--:|",
    ]
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            how = f"{row['how']}, {row['workers']} workers" if row["workers"] != "0" else f"{row['threads']} threads"
            numbers = [row[name] for name in ("seconds", "processor_seconds", "mib_of_process", "mib_of_all")]
            lines.append(f"| .{row['input']} | {how} | {' | '.join(numbers)} |")
    return "\n".join(lines)


SHOWN = {
    "results/ten_million.csv": ten_million_as_markdown,
    "results/sea-fig2/summary.csv": deconvolution_as_markdown,
    "results/sea-ablation/parts.csv": ablation_as_markdown,
    "results/sea-fig3/curves.csv": phases_as_markdown,
    "results/sea-net/errors.csv": sea_net_as_markdown,
    "results/sea-regression/losses.csv": real_data_as_markdown,
    "results/sea-classification/losses.csv": real_data_as_markdown,
    "results/sea_speed.csv": sea_speed_as_markdown,
    **{f"results/compare/{name}/table.csv": as_markdown for name in ("deconvolution", "ecg", "fourier", "gaussian")},
    "results/sea-fig2/summary.csv#times": times_as_markdown,
    "results/na-fig6/results.csv": networks_as_markdown,
    "results/na-fig6/results.csv#20": partial(networks_as_markdown, snr="20"),
    "results/na-oracle/oracle.csv": oracle_as_markdown,
    "results/na-family/results.csv": family_as_markdown,
    "results/na-communication/results.csv": communication_as_markdown,
}


PAGES = ["docs/comparisons.md", "docs/files.md", "docs/neurally-augmented-alista.md", "docs/support-exploration.md"]


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_the_committed_results(page):
    tables = re.findall(
        r"<!-- table: (\S+) -->\n(.*?)\n<!-- end of table -->", (ROOT / page).read_text(), flags=re.DOTALL
    )
    assert tables
    for path, shown in tables:
        assert shown == SHOWN[path](ROOT / path.partition("#")[0]), path


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert sorted(names["sol"].atoms) == np.flatnonzero(names["x"]).tolist()
    script = (ROOT / "examples/spikes.py").read_text()  # which draws the picture above the example
    assert example.partition("t = ")[2].partition("print")[0] in script


def test_linked_files_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), (page.name, link)


COMMANDS = [
    command
    for text in (README, *(page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))))
    for command in re.findall(r"^pursuit (.*?)(?: +#.*)?$", text, flags=re.MULTILINE)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    """Every argument is known and has a value of its kind; nothing is run."""
    name, *arguments = shlex.split(command)
    group = typer.main.get_command(cli.app)
    context = group.make_context("pursuit", [name, *arguments])
    command = group.get_command(context, name)
    while hasattr(command, "commands"):
        group, (name, *arguments) = command, arguments
        context = group.make_context(name, [name, *arguments], parent=context)
        command = group.get_command(context, name)
    command.make_context(name, arguments, parent=context)


def test_every_committed_picture_is_shown_with_words():
    shown = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for words, link in re.findall(r"!\[([^\]]*)\]\(([^)]+\.png)\)", page.read_text()):
            assert len(words.split()) >= 3, (page.name, link)
            shown.add((page.parent / link).resolve())
    assert {path.resolve() for path in (ROOT / "results").rglob("*.png")} - shown == set()
