#!/usr/bin/env python3
"""Writes docs/options.md from the program's own --help, which is made from the tables of options.
usage: make_options_page.py DIFFRACT            writes the page
       make_options_page.py DIFFRACT --check    fails where the page is not what the program says"""
import difflib
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs/options.md"
INTRO = """# Options

Every option of every command, made from `--help` by `tools/make_options_page.py`. In names, `-` and `_` are the same.
A JSON line of `--prompts-file` takes the options of a request by the same names ([jobs](jobs.md)).
"""


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def rows_of(text):
    """Lines of a help text: (names and value, description)."""
    rows = []
    for line in text.splitlines():
        found = re.match(r"^  (-\S.*?|[A-Za-z]+(?: [A-Z]+)*?)(?:  +| (?=[A-Z][a-z]))(\S.*)$", line)
        if found and found[1].startswith("-"):
            rows.append([found[1], found[2]])
        elif re.match(r"^  -\S", line):
            names = re.match(r"^  (\S+(?: \S+)?)(?: +(.*))?$", line)
            rows.append([names[1], names[2] or ""])
        elif rows and rows[-1][1] == "" and re.match(r"^ {20,}\S", line):
            rows[-1][1] = line.strip()
    return rows


def cell(text):
    return text.replace("|", "\\|")


def page(program):
    commands = re.findall(r"^  diffract (\S+)", output_of(program, "--help"), re.MULTILINE)
    parts = [INTRO]
    for command in commands:
        text = output_of(program, command, "--help")
        parts.append(f"## diffract {command}\n\n| option | |\n|---|---|\n"
                     + "".join(f"| `{cell(names)}` | {cell(what)} |\n" for names, what in rows_of(text)))
    return "\n".join(parts)


def main():
    made = page(sys.argv[1])
    if "--check" not in sys.argv:
        PAGE.write_text(made)
        return 0
    stands = PAGE.read_text()
    difference = list(difflib.unified_diff(stands.splitlines(), made.splitlines(), "docs/options.md", "--help", lineterm=""))
    print("\n".join(difference) or f"{PAGE.name}: as the program says, {made.count(chr(10))} lines")
    return bool(difference)


if __name__ == "__main__":
    sys.exit(main())
