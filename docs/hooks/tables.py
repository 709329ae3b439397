"""Tables of results, read from the committed JSON when the site is built."""

import re


def with_tables(markdown: str) -> str:
    """Returns a page with each `<!-- table: NAME -->` replaced by that table."""
    return re.sub(r"<!-- table: (\w+) -->", lambda found: TABLES[found[1]](), markdown)


TABLES = {}
