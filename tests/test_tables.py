"""Tables of text as programs write them: what has one reading is read, what has two is refused; nothing is lost."""

import itertools

import numpy as np
import pandas
import pytest

from pursuit import files
from pursuit.files import Asked

SEED = 0


def read(folder, text, encoding="utf-8", **asked):
    """What `files.read_array` makes of a file with that text."""
    (folder / "t.csv").write_text(text, encoding=encoding)
    return files.read_array(folder / "t.csv", Asked(**asked))


ONE_READING = {
    "commas": ("1,2,4\n4,5,7\n", [[1, 2, 4], [4, 5, 7]]),
    "semicolons": ("1;2.5\n3;4\n", [[1, 2.5], [3, 4]]),
    "tabs": ("1\t2.5\n3\t4\n", [[1, 2.5], [3, 4]]),
    "spaces": ("  1   2.5\n 3 4\n", [[1, 2.5], [3, 4]]),
    "bars": ("1|2.5\n3|4\n", [[1, 2.5], [3, 4]]),
    "one column": ("1.5\n-2\n", [1.5, -2]),
    "one line": ("1.5,-2,3\n", [1.5, -2, 3]),
    "decimal commas": ("0,5;1,5\n1;2\n", [[0.5, 1.5], [1, 2]]),
    "decimal commas in one column": ("0,0123\n0,1234\n", [0.0123, 0.1234]),
    "decimal commas in quotes": ('"0,5","0,7"\n"1","2,25"\n', [[0.5, 0.7], [1, 2.25]]),
    "decimal commas and spaces": ("0,5 1,5\n1 2,25\n", [[0.5, 1.5], [1, 2.25]]),
    "points for thousands": ("1.234,5;2\n1;2,5\n", [[1234.5, 2], [1, 2.5]]),
    "commas for thousands": ('"1,234.5",2\n1,2\n', [[1234.5, 2], [1, 2]]),
    "spaces for thousands": ("1 234,5;2\n1;2\n", [[1234.5, 2], [1, 2]]),
    "the sign that is no hyphen": ("\u22121.5\n2\n", [-1.5, 2]),
    "i": ("1+2i\n-1e-3-2.5e1i\n", [1 + 2j, -0.001 - 25j]),
    "i after spaces": ("1.0 + 2.0i\n1.0 - 1.0i\n", [1 + 2j, 1 - 1j]),
    "i in columns": ("1.0 + 2.0i, 3.0 - 1.0i\n0 + 1i, 2 + 0i\n", [[1 + 2j, 3 - 1j], [1j, 2]]),
    "j in parentheses": ("(1+2j)\n(3-1j)\n", [1 + 2j, 3 - 1j]),
    "j in front": ("1+j2\n-j3\n", [1 + 2j, -3j]),
    "a sign too many": ("1.0+-2.0i\n3.0+1.0i\n", [1 - 2j, 3 + 1j]),
    "pairs in parentheses": ("(0.31,-0.72)\n(1,2)\n", [0.31 - 0.72j, 1 + 2j]),
    "pairs, decimal commas": ("(0,31;-0,72)\n(1,5;2)\n", [0.31 - 0.72j, 1.5 + 2j]),
    "pairs in columns": ("(1,2),(3,4)\n(5,6),(7,8.5)\n", [[1 + 2j, 3 + 4j], [5 + 6j, 7 + 8.5j]]),
    "Fortran": (" 1.0D+00\n-2.5d-01\n", [1, -0.25]),
    "I,Q": ("I,Q\n1,2\n3,-4\n", [1 + 2j, 3 - 4j]),
    "re,im": ("re,im\n1,2\n3,-4\n", [1 + 2j, 3 - 4j]),
    "Re(z),Im(z)": ("Re(z);Im(z)\n1,5;2\n3;-4\n", [1.5 + 2j, 3 - 4j]),
    "parts of two": ("h1_re,h1_im,h2_re,h2_im\n1,2,3,4\n5,6,7,8\n", [[1 + 2j, 3 + 4j], [5 + 6j, 7 + 8j]]),
    "parts apart": ("a_real,b_real,a_imag,b_imag\n1,2,3,4\n5,6,7,8\n", [[1 + 3j, 2 + 4j], [5 + 7j, 6 + 8j]]),
    "comments": ("# by hand\n% too\n1,2.5\n// so\n3,4\n", [[1, 2.5], [3, 4]]),
    "empty lines": ("\n1,2.5\n\n3,4\n\n", [[1, 2.5], [3, 4]]),
    "a comma at the end": ("1,2,5,\n4,5,6.5,\n", [[1, 2, 5], [4, 5, 6.5]]),
    "empty lines of a spreadsheet": ("1;2;5;;\n4;5;6,5;;\n;;;;\n", [[1, 2, 5], [4, 5, 6.5]]),
    "names": ("a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
    "two lines of names": ("wave;counts\nnm;mV\n1,5;2,5\n7;1,25\n", [[1.5, 2.5], [7, 1.25]]),
    "R: names in quotes, an index": ('"","rs1","rs2"\n"1",0,2\n"2",1,1\n', [[0, 2], [1, 1]]),
    "R: one name fewer": ("a b c\nr1 1 2 3\nr2 4 5 7\n", [[1, 2, 3], [4, 5, 7]]),
    "dates": ("Date,A,B\n2024-01-02,0.1,0.2\n2024-01-03,0.3,0.4\n", [[0.1, 0.2], [0.3, 0.4]]),
    "German dates": ("Datum;A\n02.01.2024;0,1\n03.01.2024;0,25\n", [0.1, 0.25]),
    "labels": ("s1,1,2\ns2,2,3.5\n", [[1, 2], [2, 3.5]]),
    "labels under wavelengths": ("Sample,1100,1102,1104\nA,.1,.3,.2\nB,.3,.1,.2\n", [[0.1, 0.3, 0.2], [0.3, 0.1, 0.2]]),
    "pandas": (",0,1,2\n0,.1,.3,.2\n1,.3,.1,.2\n2,.5,.6,.1\n", [[0.1, 0.3, 0.2], [0.3, 0.1, 0.2], [0.5, 0.6, 0.1]]),
    "a series of pandas": (",0\n0,.1\n1,.3\n2,.7\n", [0.1, 0.3, 0.7]),
    "numbers over numbers": (f"{','.join(f'{900 + 72.7 * i:.1f}' for i in range(9))}\n" + "1,-2,3,.5,7,1,1,2,0\n" * 2,
                             [[1, -2, 3, 0.5, 7, 1, 1, 2, 0]] * 2),
    "true and false": ("True,False\nFalse,True\n", [[1, 0], [0, 1]]),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_READING)
def test_what_has_one_reading_is_read(name, tmp_path):
    text, wanted = ONE_READING[name]
    found = read(tmp_path, text)
    assert found.dtype == (complex if np.iscomplexobj(np.array(wanted)) else float)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding, tmp_path):
    np.testing.assert_array_equal(read(tmp_path, "1,2.5\n3,4\n", encoding), [[1, 2.5], [3, 4]])
    np.testing.assert_array_equal(read(tmp_path, "Größe;µm\n1,5;2\n3;4\n", encoding), [[1.5, 2], [3, 4]])


# Text, what is said about it, and for each answer that an option gives, what is then read.
TWO_READINGS = {
    "points or commas": ("1,5\n2,5\n", "--decimal", {"decimal": {",": [1.5, 2.5], ".": [[1, 5], [2, 5]]}}),
    "thousands or commas": (
        '"1,234","2,345"\n"3,456","1,200"\n',
        "--decimal",
        {"decimal": {",": [[1.234, 2.345], [3.456, 1.2]], ".": [[1234, 2345], [3456, 1200]]}},
    ),
    "names or numbers": (
        "1 2 3\n0 1 4\n5 6 0\n",
        "line 1 (1, 2, 3) could be names or numbers; give --header yes or --header no",
        {"header": {"no": [[1, 2, 3], [0, 1, 4], [5, 6, 0]], "yes": [[0, 1, 4], [5, 6, 0]]}},
    ),
    "a name or a number": ("0\n.5\n.3\n", "--header", {"header": {"no": [0, 0.5, 0.3], "yes": [0.5, 0.3]}}),
    "wavelengths that rise unevenly": (
        "400,410,430,435,470\n.1,.7,.3,.9,.2\n.4,.2,.8,.1,.6\n",
        "--header",
        {"header": {"yes": [[0.1, 0.7, 0.3, 0.9, 0.2], [0.4, 0.2, 0.8, 0.1, 0.6]]}},
    ),
    "an axis or data": (
        "1100,.1\n1102,.7\n1104,.3\n",
        "column 1 (1100, 1102, 1104) could be an index or data; give --index yes or --index no",
        {"index": {"yes": [0.1, 0.7, 0.3], "no": [[1100, 0.1], [1102, 0.7], [1104, 0.3]]}},
    ),
    "an axis by its name": (
        "time,v\n0,.1\n1,.7\n4,.3\n",
        "--index",
        {"index": {"yes": [0.1, 0.7, 0.3]}, "columns": {each: [0.1, 0.7, 0.3] for each in ("2", "v", "2:")}},
    ),
    "a trend or an index": ("t,v\n0,.1\n1,.7\n2,.3\n", "--index", {"index": {"no": [[0, 0.1], [1, 0.7], [2, 0.3]]}}),
    "lines with numbers above the names": (
        "Integration time,100\nnm,counts\n1.5,2\n3,4\n",
        "line 1, column 1 is 'Integration time'",
        {"header": {"2": [[1.5, 2], [3, 4]]}},
    ),
    "a slip or a name": (
        "O.5\n.3\n",
        "line 1, column 1 is 'O.5', which is no number; if the lines up to 1 hold names, give --header 1",
        {"header": {"1": [0.3]}},
    ),
    "a column of text": (
        "a,b,kind\n1,2,x\n3,4,y\n",
        "column 3 is text ('x' in line 2); give --columns 1:2",
        {"columns": {"1:2": [[1, 2], [3, 4]], "b,a": [[2, 1], [4, 3]], "2": [2, 4]}},
    ),
    "parts of some columns": ("n,I,Q\n7,1,2\n5,3,4\n", "--columns", {"columns": {"2:": [1 + 2j, 3 + 4j]}}),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_READINGS)
def test_what_has_two_readings_is_refused_and_an_option_settles_it(name, tmp_path):
    text, message, answers = TWO_READINGS[name]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read(tmp_path, text)
    assert message in str(error.value)
    for option, values in answers.items():
        for value, wanted in values.items():
            np.testing.assert_array_equal(read(tmp_path, text, **{option: value}), wanted)


REFUSED = {
    "NA in line 1": ("0.1,NA\n2,3\n", "line 1, column 2 is 'NA': a value is missing"),
    "an empty cell in line 1": ("0.1,,3\n4,5,6.5\n", "line 1, column 2 is empty: a value is missing"),
    "an empty cell": ("1,2.5,3\n4,,6\n", "line 2, column 2 is empty: a value is missing"),
    "an empty first cell": (",2.5,3\n4,5,6.5\n7,1,2\n", "--header"),
    "an empty tab": ("1\t2\t3.5\n4\t\t6\n", "line 2, column 2 is empty"),
    "Excel's errors": ("1;2,5\n#DIV/0!;4\n", "line 2, column 1 is '#DIV/0!': a value is missing"),
    "a missing value after a comment": ("# c\n1,2.5\nnan,4\n", "line 3, column 1 is 'nan'"),
    "a short line": ("1,2,3.5\n4,5\n", "line 2, column 3 is empty"),
    "a letter": ("0.5,1\n0.3,l.5\n", "line 2, column 2 is 'l.5', which is no number"),
    "a dash for a minus": ("0.5,1\n0.3,\u20131.5\n", "line 2, column 2 is '\u20131.5'"),
    "the minus of accountants": ("0.5\n(1.5)\n", "line 2, column 1 is '(1.5)', which could be a negative number"),
    "the minus behind": ("0.5\n1.5-\n", "line 2, column 1 is '1.5-', with its minus behind"),
    "per cent": ("0.5\n15%\n", "line 2, column 1 is '15%'"),
    "infinity": ("0.5\ninf\n", "line 2, column 1 is 'inf'; needed are finite numbers"),
    "more than a double holds": ("0.5\n1e400\n", "line 2, column 1 is '1e400'; needed are finite numbers"),
    "a comment in a line": ("0.5,1\n0.3,2 # late\n", "line 2, column 2 is '2 # late'"),
    "words": ("a\nb\n", "it has no line of numbers"),
    "nothing": ("\n", "the file is empty"),
    "spaces that may separate": ("1 234,5\n2 345,6\n", "can be read in 3 ways"),
    "an index of which a label is a number": ("s1,1,2\n7,2,3.5\n", "line 1, column 1 is 's1'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_cell_that_is_no_number_is_named(name, tmp_path):
    text, message = REFUSED[name]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read(tmp_path, text)
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "t.csv"))


STYLES = [
    (marks, *rest)
    for marks, *rest in itertools.product(
        [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), (" ", ".")],
        ["none", "words", "0..", "wavelengths"],
        ["none", "0..", "dates", "labels"],
        ["real", "whole", "complex"],
    )
    if marks[1] == "." or rest[-1] != "complex"  # pandas writes complex numbers with decimal points only
]


def written(style, values):
    """The text of a table as pandas writes it, and what a user would say about it."""
    (sep, decimal), header, index, _ = style
    m, n = values.shape
    columns = {"0..": range(n), "wavelengths": np.linspace(400, 700, n), "words": [f"v{i}" for i in range(n)]}
    rows = {"dates": pandas.date_range("2024-01-30", periods=m), "labels": [f"s{i}" for i in range(m)]}
    frame = pandas.DataFrame(values, index=rows.get(index), columns=columns.get(header))
    text = frame.to_csv(sep=sep, decimal=decimal, header=header != "none", index=index != "none")
    said = {
        "header": "no" if header == "none" else "yes",
        "index": "no" if index == "none" else "yes",
        "decimal": decimal,
    }
    return text, said


@pytest.mark.parametrize("style", STYLES, ids=lambda style: " ".join(map(str, style)))
def test_a_table_of_pandas_is_read_or_asked_about_and_never_read_as_another(style, tmp_path):
    kind, rng = style[-1], np.random.default_rng(SEED)
    for m, n in ((12, 9), (2, 3), (5, 1), (1, 4)):
        values = rng.standard_normal((m, n)).round(4)
        values = values + 1j * rng.standard_normal((m, n)).round(4) if kind == "complex" else values
        values = rng.integers(-9, 9, (m, n)).astype(int) if kind == "whole" else values
        text, said = written(style, values)
        (tmp_path / "t.csv").write_text(text)
        np.testing.assert_array_equal(files.only("t", files.readings(tmp_path / "t.csv", Asked(**said))).array, values)
        if n == 1 and (style[1] == "wavelengths" or (style[1] == "0.." and kind == "whole")):
            continue  # one number above others like it; with A beside it, its length tells
        if style[1:3] == ("none", "0..") and m < (3 if kind == "whole" else 2):
            continue  # 0 and 1 before other numbers
        found = files.readings(tmp_path / "t.csv")
        assert any(np.array_equal(one.array, values) for one in found), text
        sure = [one for one in found if one.sure] or found
        if len(sure) == 1:
            np.testing.assert_array_equal(sure[0].array, values, err_msg=text)
        elif len(sure) > 1:
            assert all(one.doubts for one in sure)


def test_large_tables_are_read_as_small_ones_are(tmp_path):
    values = np.random.default_rng(0).standard_normal((300, 40))
    for sep, decimal in ((",", "."), (";", ","), (" ", ".")):
        pandas.DataFrame(values).to_csv(tmp_path / "t.csv", sep=sep, decimal=decimal)
        np.testing.assert_array_equal(files.read_array(tmp_path / "t.csv"), values)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    lines[250] = lines[250].replace("0.", "O.", 1)
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"line 251, column \d+ is '-?O\.\d+', which is no number"):
        files.read_array(tmp_path / "t.csv")
