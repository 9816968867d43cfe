"""What the site has besides the files of docs/: the pages at the top of the repository, and a list of the decisions.

A hook of mkdocs. Links between these pages and docs/ are right on disk, where people read them, too, and are made right
for the site here. A link to a file that is no page becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

# A file of the repository -> its page or picture on the site.
ADDED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/results.md": "benchmarks.md",
    "benchmarks/rows.png": "rows.png",
}
DECISIONS = "decisions/index.md"
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)#]*)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for source, place in ADDED.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, DECISIONS, content=_decisions()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes the links of a page lead to pages of the site."""
    place = page.file.src_uri
    sources = {target: source for source, target in ADDED.items()}
    here = posixpath.dirname(sources.get(place, f"docs/{place}"))

    def on_site(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.groups(default="")
        if not target:
            return link[0]
        path = posixpath.normpath(posixpath.join(here, target))
        found = ADDED.get(path) or (DECISIONS if path == "docs/decisions" else path.removeprefix("docs/"))
        if (path not in ADDED and not path.startswith("docs/")) or not files.get_file_from_path(found):
            return text
        return f"{picture}[{text}]({posixpath.relpath(found, posixpath.dirname(place) or '.')}{anchor})"

    return LINK.sub(on_site, markdown)


def _decisions() -> str:
    """A list of the decisions by their titles."""
    lines = ["# Decisions", "", "Why things are as they are, and what was tried and not kept.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text("utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"* [{title}]({path.name})")
    return "\n".join(lines) + "\n"
