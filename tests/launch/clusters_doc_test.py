#!/usr/bin/env python3
"""Every `diffract launch` line of docs/clusters.md, the Kubernetes job's too, has options that the launcher knows.
Usage: clusters_doc_test.py LAUNCHER CLUSTERS.md"""
import re
import shlex
import subprocess
import sys


def command_lines(text):
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        if language == "yaml":
            words = re.findall(r"^ +- (\S+)$", block[block.index("command:") : block.index("volumeMounts:")], re.M)
            yield words
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if not line.startswith("#"):
                yield shlex.split(line)


def main():
    launcher, document = sys.argv[1:]
    checked, problems = 0, []
    for words in command_lines(open(document, encoding="utf-8").read()):
        if "launch" not in words:
            continue
        arguments = words[words.index("launch") + 1 :]
        # With --help in front, the options are read and nothing is started.
        done = subprocess.run([launcher, "--help", *arguments], capture_output=True, text=True, timeout=60)
        checked += 1
        if done.returncode != 0:
            problems.append(f"{shlex.join(words)}\n  {done.stderr.strip()}")
    if checked < 7:
        problems.append(f"only {checked} lines found; are they still in code blocks?")
    print("\n".join(problems) or f"{checked} lines are right")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
