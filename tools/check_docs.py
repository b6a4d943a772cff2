#!/usr/bin/env python3
"""Checks the documentation: README.md, CONTRIBUTING.md, CHANGELOG.md and docs/**/*.md.

  check_docs.py                 the Markdown itself: dead links, anchors and images; paths in backticks that do not exist;
                                lines over 130 columns; sentences that are too long at the median of a page;
                                exit codes that differ from those of core/error.cpp
  check_docs.py --site DIR      the built site: dead links and anchors, and anything that a page would load from the network

Prints a table of the pages and each problem with its line; the exit code is 1 where there are any. Standard library only.
"""
import re
import statistics
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_WORDS = 20  # the median sentence of a page has fewer
MOST_COLUMNS = 130
UNMEASURED = {"CHANGELOG.md"}  # a list of changes has no sentences
# A path in backticks must exist below one of these; pages name sources without their first folder.
BASES = ["", "docs", "diffract"]
FOLDERS = "bench cmake diffract docs examples models tests tools .ci".split()
MADE = ("build/", "out/", ".deps/")  # what a build makes
MADE_BY_OTHERS = {"docs/options.md"}  # written by the program when the site is built


def pages():
    roots = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return roots + sorted((ROOT / "docs").rglob("*.md"))


class Page:
    """A Markdown file, its lines, and which of them are code."""

    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.lines = path.read_text(encoding="utf-8").splitlines()
        self.is_code = []
        fence = None
        for line in self.lines:
            mark = re.match(r"\s*(```+|~~~+)", line)
            if fence:
                self.is_code.append(True)
                if mark and mark[1].startswith(fence) and line.strip() == mark[1]:
                    fence = None
            else:
                fence = mark[1] if mark else None
                self.is_code.append(bool(mark))

    def prose(self):
        """Its lines with their numbers, without code blocks."""
        return [(n, line) for n, (line, code) in enumerate(zip(self.lines, self.is_code), 1) if not code]

    def anchors(self):
        found, used = set(), {}
        for _, line in self.prose():
            heading = re.match(r"#{1,6}\s+(.+?)\s*#*$", line)
            if heading:
                slug = slugify(heading[1])
                used[slug] = used.get(slug, 0) + 1
                found.add(slug if used[slug] == 1 else f"{slug}_{used[slug] - 1}")
            found.update(re.findall(r'\bid="([^"]+)"', line))
        return found


def slugify(heading):
    """As the toc extension of Python-Markdown makes the anchor of a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    text = re.sub(r"[^\w\s-]", "", text.encode("ascii", "ignore").decode()).strip().lower()
    return re.sub(r"[-\s]+", "-", text)


def sentences(page):
    """The sentences of a page's prose as lists of words: no code, tables, headings or images. Code in backticks is a word."""
    blocks, block = [], []

    def end():
        if block:
            blocks.append(" ".join(block))
            block.clear()

    for _, line in page.prose():
        text = line.strip()
        if not text or re.match(r"(#{1,6}\s|\||<|!\[|\[[^\]]+\]:\s|---+$|===+$)", text):
            end()
            continue
        item = re.match(r"(?:[-*+]|\d+\.)\s+(.*)", text)
        if item:
            end()
            text = item[1]
        block.append(text)
    end()
    for text in blocks:
        text = re.sub(r"`[^`]*`", "Code", text)
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
        text = re.sub(r"[*_]{1,3}(\S[^*_]*)[*_]{1,3}", r"\1", text)
        text = re.sub(r"\b(e\.g|i\.e|etc|vs|cf|approx)\.", r"\1", text)
        for sentence in re.split(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]*[A-Z0-9])", text):
            words = [word for word in sentence.split() if re.search(r"\w", word)]
            if len(words) > 2:  # less is a label
                yield words


def links(line):
    """The targets of Markdown's and HTML's links and images in a line, code in backticks left out."""
    text = re.sub(r"`[^`]*`", "", line)
    yield from re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    yield from re.findall(r"^\s*\[[^\]]+\]:\s+(\S+)", text)
    yield from re.findall(r"<img[^>]+src=\"([^\"]+)\"", text)


def check_links(page, anchors, problems):
    for number, line in page.prose():
        for target in links(line):
            where = f"{page.name}:{number}"
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue  # of the network
            path, _, anchor = urllib.parse.unquote(target).partition("#")
            file = (page.path.parent / path).resolve() if path else page.path
            if not file.exists():
                problems.append(f"{where}: the link {target} leads nowhere")
            elif ROOT not in file.parents:
                problems.append(f"{where}: the link {target} leads out of the repository")
            elif anchor and file.suffix == ".md" and anchor not in anchors.get(file, set()):
                problems.append(f"{where}: {path or page.name} has no heading for #{anchor}")


def check_paths(page, problems):
    """Files of the repository that are named in backticks: `bench/compare.py`, `weights/weight.h`."""
    sources = {p.name for p in (ROOT / "diffract").iterdir() if p.is_dir()}
    for number, line in page.prose():
        for text in re.findall(r"`([^`]+)`", line):
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/[\w.-]+\.(h|cpp|cu|py|md|sh|txt|json|svg|png|cmake)", text):
                continue
            if text.startswith(MADE) or text in MADE_BY_OTHERS or text.split("/")[0] not in sources | set(FOLDERS):
                continue
            if not any((ROOT / base / text).exists() for base in BASES):
                problems.append(f"{page.name}:{number}: `{text}`: there is no such file")


def check_columns(page, problems):
    for number, line in page.prose():
        if len(line) > MOST_COLUMNS and not line.lstrip().startswith(("|", "!", "[!", "<")):
            problems.append(f"{page.name}:{number}: {len(line)} columns; expected {MOST_COLUMNS} at most")


def check_exit_codes(problems):
    """docs/troubleshooting.md has a row for each code of the table in core/error.cpp, and no other of the program's own."""
    source, page = ROOT / "diffract/core/error.cpp", ROOT / "docs/troubleshooting.md"
    if not source.exists() or not page.exists():
        return
    codes = {int(code): name for name, code in re.findall(r'\{"(\w+)",\s*(\d+),\s*\d+\}', source.read_text())}
    rows = dict(re.findall(r"^\|\s*(\d+)\s*\|\s*([^|]*?)\s*\|", page.read_text(), re.MULTILINE))
    for code, name in sorted(codes.items()):
        if str(code) not in rows:
            problems.append(f"docs/troubleshooting.md: exit code {code} ({name}) has no row `| {code} | ...`")
    for code in sorted(set(map(int, rows)) - set(codes) - {0}):
        problems.append(f"docs/troubleshooting.md: exit code {code} is not in {source.relative_to(ROOT)}")


def check_sources():
    problems, all_pages = [], [Page(path) for path in pages()]
    anchors = {page.path.resolve(): page.anchors() for page in all_pages}
    print(f"{'page':<40}{'sentences':>10}{'median words':>14}{'longest':>9}")
    for page in all_pages:
        lengths = [len(words) for words in sentences(page)]
        if lengths:
            median = statistics.median(lengths)
            print(f"{page.name:<40}{len(lengths):>10}{median:>14g}{max(lengths):>9}")
            if median >= MOST_WORDS and page.name not in UNMEASURED:
                problems.append(f"{page.name}: half of its sentences have {median:g} words or more; expected under {MOST_WORDS}")
        check_links(page, anchors, problems)
        check_paths(page, problems)
        check_columns(page, problems)
    check_exit_codes(problems)
    return problems


class Html(HTMLParser):
    """The ids of a page, what it links to, and what it loads."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.hrefs, self.loads = set(), [], []
        self.feed(file.read_text(encoding="utf-8", errors="replace"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.update(v for k, v in attributes if v and (k == "id" or (k == "name" and tag == "a")))
        if tag == "a" and values.get("href"):
            self.hrefs.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "shortcut icon", "preload"):
            self.loads.append(values.get("href", ""))
        elif tag in ("script", "img", "iframe", "source", "video", "audio") and values.get("src"):
            self.loads.append(values["src"])


def check_site(site):
    problems, parsed = [], {file: Html(file) for file in sorted(site.rglob("*.html"))}
    for file, page in parsed.items():
        name = file.relative_to(site)
        for load in page.loads:
            if re.match(r"(https?:)?//", load):
                problems.append(f"{name}: loads {load} from the network")
        for target in page.hrefs + page.loads:
            if re.match(r"([a-z][a-z0-9+.-]*:|//)", target) or (file.name == "404.html" and target.startswith("/")):
                continue
            path, _, anchor = urllib.parse.unquote(target.split("?")[0]).partition("#")
            other = (file.parent / path).resolve() if path else file
            if other.is_dir():
                other = other / "index.html"
            if not other.exists():
                problems.append(f"{name}: the link {target} leads nowhere")
            elif name.parts[0] == "api":  # Doxygen links to private classes, which it leaves out
                continue
            elif anchor and other.suffix == ".html" and anchor not in parsed[other].ids:
                problems.append(f"{name}: {path or name} has no #{anchor}")
    for style in sorted(site.rglob("*.css")):
        for load in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")]+)", style.read_text(errors="replace")):
            problems.append(f"{style.relative_to(site)}: loads {load} from the network")
    if not parsed:
        problems.append(f"{site}: has no pages")
    print(f"{len(parsed)} pages of the site")
    return problems


def main(arguments):
    if arguments and (len(arguments) != 2 or arguments[0] != "--site"):
        sys.exit(__doc__)
    problems = check_site(Path(arguments[1]).resolve()) if arguments else check_sources()
    print("\n".join(problems) or "the documentation is in order")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
