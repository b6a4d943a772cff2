"""Hooks of mkdocs.yml: pages that lie at the root, and pages that exist in some trees only."""
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
ROOT_PAGES = {"CONTRIBUTING.md": "Contributing", "CHANGELOG.md": "Changelog"}
OPTIONAL_PAGES = {"options.md": ("Reference", "Options")}


def section(nav, title):
    for entry in nav:
        if title in entry:
            return entry[title]
    nav.append({title: []})
    return nav[-1][title]


def title_of(page):
    heading = re.search(r"^# (.+)$", page.read_text(), re.MULTILINE)
    return heading[1].replace("`", "") if heading else page.stem


def on_config(config):
    docs, nav = Path(config["docs_dir"]), config["nav"]
    for name, (where, title) in OPTIONAL_PAGES.items():
        if (docs / name).exists():
            section(nav, where).insert(0, {title: name})
    for page in sorted((docs / "notes").glob("*.md")):
        section(nav, "Notes").append({title_of(page): f"notes/{page.name}"})
    for name, title in ROOT_PAGES.items():
        section(nav, "Development").append({title: name})
    return config


def on_files(files, config):
    files.remove(files.get_file_from_path("Doxyfile"))  # no page
    for name in ROOT_PAGES:
        files.append(File(name, str(ROOT), config["site_dir"], config["use_directory_urls"]))
    return files


def on_page_markdown(markdown, page, **_):
    """At the root a link to a page begins with docs/; in the site it does not."""
    return markdown.replace("](docs/", "](") if page.file.src_uri in ROOT_PAGES else markdown
