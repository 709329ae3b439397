import inspect
import re
from pathlib import Path

import jaxcast

DOCS = Path(__file__).parents[1] / "docs"
NAMES = re.compile(r"^::: (jaxcast[\w.]*)$", re.MULTILINE)


def documented():
    """The name in each entry of the reference, and its page."""
    for page in sorted((DOCS / "reference").glob("*.md")):
        for name in NAMES.findall(page.read_text()):
            yield name, page.name


def found(path):
    """What a public path leads to."""
    thing = jaxcast
    for part in path.split(".")[1:]:
        thing = vars(thing)[part]
    return thing


def namespaces():
    yield "jaxcast", jaxcast
    for name in re.findall(r"^from jaxcast import (\w+) as \1$", inspect.getsource(jaxcast), re.MULTILINE):
        yield f"jaxcast.{name}", vars(jaxcast)[name]


def public_paths():
    for namespace, part in namespaces():
        for name in re.findall(r"^from .* import (\w+) as \1$", inspect.getsource(part), re.MULTILINE):
            if not inspect.ismodule(vars(part)[name]):
                yield f"{namespace}.{name}"


def test_every_public_name_is_on_a_page():
    on_a_page = {id(found(name)) for name, _ in documented()}
    missing = [path for path in public_paths() if id(found(path)) not in on_a_page]
    assert not missing, f"add to docs/reference: {missing}"
    assert len(on_a_page) > 200


def test_every_entry_is_a_public_name_and_stands_once():
    entries = [name for name, _ in documented()]
    others = {name for name in entries if name.startswith(("jaxcast.rollout.", "jaxcast.sharding."))}
    assert set(entries) - others <= set(public_paths())
    things = [id(found(name)) for name in entries]
    assert len(set(things)) == len(things)


def test_every_page_is_in_the_navigation():
    navigation = (DOCS.parent / "mkdocs.yml").read_text().split("\nnav:")[1]
    pages = set(re.findall(r"[\w/]+\.md", navigation))
    written = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert written <= pages


def test_the_lines_of_the_documents_fit():
    for page in DOCS.rglob("*.md"):
        is_code = False
        for number, line in enumerate(page.read_text().splitlines(), 1):
            is_code ^= line.startswith("```")
            assert len(line) <= 100 or is_code or line.startswith("|"), f"{page}:{number}"


def addresses(text):
    """The relative links and pictures of a Markdown page, outside blocks of code and without their anchors."""
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)[^)]*\)|^\[\w+\]: (\S+)$|(?:src|href)=\"([^\"]+)\"", text, re.MULTILINE)
    return [address.partition("#")[0] for address in map("".join, found) if not re.match(r"[a-z]+:|#", address)]


def test_links_between_files_lead_somewhere():
    root = DOCS.parent
    pages = [root / "README.md", root / "CONTRIBUTING.md", root / "benchmarks/README.md"]
    pages += [*root.glob("experiments/**/README.md"), *DOCS.rglob("*.md")]
    links = [(page, address) for page in pages for address in addresses(page.read_text())]
    links += [
        (script, address)
        for script in DOCS.glob("tutorials/*.py")
        for address in addresses(re.sub("^# ?", "", script.read_text(), flags=re.MULTILINE))
    ]
    broken = [f"{page.relative_to(root)}: {address}" for page, address in links if not (page.parent / address).exists()]
    assert not broken
    assert len(links) > 200


def test_every_table_made_for_the_site_has_a_link_to_its_numbers():
    tables = [
        (page, after.split("\n\n")[0])
        for page in DOCS.rglob("*.md")
        for after in re.split(r"\n\n<!-- table: \w+ -->\n\n", page.read_text())[1:]
    ]
    for page, paragraph in tables:
        assert re.search(r"\]\([./]*(experiments|benchmarks)/[^)]*(\.json|README\.md)\)", paragraph), (
            f"{page}: {paragraph}"
        )
    assert len(tables) > 8
