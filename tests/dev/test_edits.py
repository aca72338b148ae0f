"""Anchored edits match exactly once, or the build stops and names them."""

import textwrap

import pytest

from dev.build.edits import Edit, apply_edits, load_edits
from dev.build.errors import BuildError, EditMismatch

SOURCE = textwrap.dedent(
    """
    import json
    import tempfile
    from package import (
        FIRST,
        SECOND,
    )

    # Section
    # What it names
    QUEUE = "queue"

    LIMIT = 3


    class Server:
        def run(self, names):
            # The old reason,
            # in two lines.
            if engine() == "old":
                started = start(
                    names,
                )
            code = self.process.wait()
            return code


    def run(names):
        return [json.dumps(name, indent=2) for name in names]
    """
).lstrip()


def edit(**fields):
    return Edit(
        **{"target": "mlflow/a.py", "name": "an-edit", "symbol": "module", "why": "-"} | fields
    )


def edited(**fields):
    text = apply_edits(SOURCE, [edit(**fields)])
    return text.partition("\n# Modified from")[0]


def test_an_anchor_is_searched_only_inside_its_symbol():
    text = edited(symbol="run", find="return $_", replace="return []")
    assert text == SOURCE.replace(
        "return [json.dumps(name, indent=2) for name in names]", "return []"
    )


def test_a_nested_symbol_is_named_with_dots():
    text = edited(symbol="Server.run", find="return $CODE", replace="return int($CODE)")
    assert "        return int(code)\n" in text


def test_a_replacement_keeps_what_the_pattern_caught_at_the_new_depth():
    text = edited(
        symbol="Server.run",
        find="if engine() == $_:\n    $WATCH",
        replace="$WATCH",
        comment="# The reason.\n",
    )
    assert text == SOURCE.replace(
        """\
        # The old reason,
        # in two lines.
        if engine() == "old":
            started = start(
                names,
            )
""",
        """\
        # The reason.
        started = start(
            names,
        )
""",
    )


def test_several_caught_nodes_are_written_back_as_they_were():
    text = edited(
        symbol="run", find="json.dumps($$$ALL)", replace="json.dumps($$$ALL, sort_keys=True)"
    )
    assert "json.dumps(name, indent=2, sort_keys=True)" in text


def test_an_insertion_stands_at_the_depth_of_its_statement():
    text = edited(
        symbol="Server.run",
        find="self.process.wait()",
        insert_after="if code:\n    raise OSError(code)\n",
    )
    assert (
        "        code = self.process.wait()\n"
        "        if code:\n"
        "            raise OSError(code)\n"
        "        return code\n"
    ) in text


def test_an_insertion_before_a_statement_stands_above_its_comment():
    text = edited(symbol="QUEUE", insert_before="A = 1\n\n")
    assert ")\n\nA = 1\n# Section\n# What it names\nQUEUE" in text


def test_a_removed_statement_takes_its_comment_and_one_blank_line_along():
    text = edited(symbol="QUEUE", replace="")
    assert text == SOURCE.replace('# Section\n# What it names\nQUEUE = "queue"\n\n', "")


@pytest.mark.parametrize(("name", "line"), [("FIRST", "    FIRST,\n"), ("SECOND", "    SECOND,\n")])
def test_a_removed_element_takes_its_comma_along(name, line):
    rule = {"kind": "dotted_name", "regex": f"^{name}$"}
    assert edited(find=rule, replace="") == SOURCE.replace(line, "")


def test_the_last_of_several_elements_on_a_line_takes_the_comma_before_it():
    text = edited(symbol="run", find={"kind": "keyword_argument", "regex": "^indent"}, replace="")
    assert "json.dumps(name)" in text


def test_a_comment_alone_replaces_the_comment_above_its_symbol():
    text = edited(symbol="QUEUE", comment="# Unused.\n")
    assert text == SOURCE.replace("# Section\n# What it names\n", "# Unused.\n")


def test_letters_beyond_ascii_do_not_shift_an_edit():
    text = apply_edits('A = "é𝒳ü"\nB = "ö", C\n', [edit(find="C", replace="D")])
    assert text.startswith('A = "é𝒳ü"\nB = "ö", D\n')


def test_an_edited_file_says_which_edits_it_holds():
    text = apply_edits(
        SOURCE, [edit(symbol="QUEUE", replace=""), edit(name="b", symbol="LIMIT", replace="")]
    )
    assert text.endswith("by the job framework:\n# - an-edit\n# - b\n")


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"find": "nothing_like_this()", "replace": "a"}, "matches 0 times"),
        ({"find": "names", "replace": "a"}, "matches 4 times"),
        ({"symbol": "gone", "find": "names", "replace": "a"}, "symbol is there 0 times"),
        ({"symbol": "Server.gone", "find": "names", "replace": "a"}, "symbol is there 0 times"),
    ],
)
def test_an_edit_that_does_not_match_once_stops_the_build_and_is_named(fields, count):
    with pytest.raises(EditMismatch, match=count) as caught:
        apply_edits(SOURCE, [edit(**fields)])
    assert "mlflow/a.py: edit 'an-edit' in " in str(caught.value)


def test_the_second_of_two_edits_sees_what_the_first_left():
    twice = [edit(find="import tempfile", replace="")] * 2
    with pytest.raises(EditMismatch, match="matches 0 times"):
        apply_edits(SOURCE, twice)


def test_an_edit_that_leaves_broken_python_stops_the_build():
    with pytest.raises(EditMismatch, match="is not Python"):
        apply_edits(SOURCE, [edit(symbol="run", find="return $_", replace="")])


@pytest.mark.parametrize(
    "fields",
    [
        {"find": "A"},
        {"find": "A", "replace": "B", "insert_after": "C"},
        {"find": "A", "replace": "", "comment": "# C"},
        {"find": "A", "insert_before": "B", "comment": "# C"},
    ],
)
def test_an_edit_says_exactly_one_thing(fields):
    with pytest.raises(BuildError, match="an-edit"):
        edit(**fields)


@pytest.mark.parametrize(
    "entry", ["[a]", "[{name: a}]", "[{name: a, symbol: b, why: c, replace: d, colour: e}]"]
)
def test_a_malformed_entry_stops_the_build_and_names_its_file(tmp_path, entry):
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow/a.edits.yml").write_text(entry)
    with pytest.raises(BuildError, match="mlflow/a.py"):
        load_edits(tmp_path)


def test_an_unknown_kind_of_rule_stops_the_build():
    with pytest.raises(BuildError, match="not an ast-grep rule"):
        apply_edits(SOURCE, [edit(find={"colour": "red"}, replace="a")])


def test_a_replacement_names_only_what_its_pattern_caught():
    with pytest.raises(BuildError, match="OTHER"):
        apply_edits(SOURCE, [edit(find="import tempfile", replace="import $OTHER")])
