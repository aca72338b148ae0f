"""Every statement says, in each dialect, what was reviewed: the listings in the folder `golden`.

After a change that is meant: `python -m tests.store.jobs.golden`, then read the diff, that of MSSQL
and MySQL 8 above all, because no other test runs those.
"""

import difflib
import re

import pytest

from tests.store.jobs.golden.recorded import DIALECTS, FOLDER, texts


@pytest.fixture(scope="module")
def listings() -> dict[str, str]:
    return texts()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_statements_are_those_that_were_reviewed(listings, dialect):
    reviewed = (FOLDER / f"{dialect}.sql").read_text(encoding="utf-8")

    difference = difflib.unified_diff(
        reviewed.splitlines(), listings[dialect].splitlines(), "reviewed", "now", lineterm="", n=8
    )

    assert not (lines := list(difference)), "\n".join(lines)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("number", range(1, 14))
def test_every_transition_is_listed(listings, dialect, number):
    assert re.search(rf"^-- T{number}\b", listings[dialect], re.MULTILINE)


def test_mssql_is_asked_for_nothing_that_it_does_not_know(listings):
    text = re.sub(r"^-- .*$", "", listings["mssql"], flags=re.MULTILINE)

    assert not re.search(r"\b(LIMIT|RETURNING|FOR UPDATE|SKIP LOCKED|TRUE|FALSE)\b", text, re.I)
