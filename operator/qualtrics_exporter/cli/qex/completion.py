"""Completion in the shell: `kubectl_complete-qex`, which kubectl calls for `kubectl qex <Tab>`.

kubectl expects what Cobra prints: one candidate for each line, with a tab before its description, and at the end a line
with a colon and a number: 4 means that no files are completed.
"""

import sys

from click.shell_completion import ShellComplete

from qualtrics_exporter.cli.qex import program

NO_FILES = ":4"


def main() -> None:
    """The console script. Its arguments are the words after `qex`. The last one is incomplete."""
    *words, incomplete = sys.argv[1:] or [""]
    complete = ShellComplete(program, {}, "kubectl qex", "")
    for item in complete.get_completions(words, incomplete):
        sys.stdout.write(f"{item.value}\t{item.help}\n" if item.help else f"{item.value}\n")
    sys.stdout.write(f"{NO_FILES}\n")
