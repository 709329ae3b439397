"""Runs the tutorials, plain Python scripts, and writes them as pages with what they print and draw.

A script is a sequence of cells. `# %%` starts code, and what follows it on the line is the caption of the picture that
the code draws; `# %% [markdown]` starts text, written as comments. A page is made again only when its script or the
package has changed; with DOCS_STALE_TUTORIALS=1, for writing, only when its script has.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from sources import ROOT, redirected

CACHE = ROOT / ".cache" / "tutorials"
AT_A_TIME = 2
"""Tutorials that run side by side, each in a process of its own."""
RUNNER = Path(__file__).parent / "run_tutorial.py"


def tutorial_files(config: MkDocsConfig) -> Iterator[File]:
    """Yields the page and the pictures of every tutorial."""
    state = hash_of([RUNNER, *sorted(ROOT.glob("jaxcast/**/*.py"))])
    scripts = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        folders = list(pool.map(partial(executed, state=state), scripts))
    for script, folder in zip(scripts, folders, strict=True):
        text = redirected((folder / "page.md").read_text(), script.relative_to(ROOT).as_posix())
        download = f"[Download this tutorial as a script]({script.name})\n"
        yield File.generated(config, f"tutorials/{script.stem}.md", content=f"{text}\n{download}")
        for picture in sorted(folder.glob("*.png")):
            yield File.generated(config, f"tutorials/{picture.name}", abs_src_path=str(picture))


def hash_of(paths: list[Path]) -> str:
    """Returns a fingerprint of the contents of files."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def executed(script: Path, state: str) -> Path:
    """Returns the folder of a tutorial's page, after running it where that has not been done yet."""
    name = hash_of([script])[:12]
    folder = CACHE / script.stem / f"{name}-{state[:12]}"
    if (folder / "page.md").exists():
        return folder
    if os.environ.get("DOCS_STALE_TUTORIALS"):
        old = sorted(folder.parent.glob(f"{name}-*/page.md"), key=lambda page: page.stat().st_mtime)
        if old:
            return old[-1].parent
    folder.mkdir(parents=True, exist_ok=True)
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": search, "MPLBACKEND": "agg", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(RUNNER), str(script), str(folder)]
    run = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if run.returncode:
        raise PluginError(f"{script.name} failed:\n{run.stderr[-3000:]}")
    return folder
