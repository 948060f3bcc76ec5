"""Starts `kubectl qex` as users do: kubectl finds the plugin on the PATH."""

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner

from hack.programs import installed
from qualtrics_exporter.cli.qex import program
from qualtrics_exporter.cli.qex.kubectl import Failed
from tests.support.waiting import HANG_SECONDS

CTRL_C = "\x03"
CTRL_D = "\x04"
# The default for Ctrl-C: a shell lets the commands that it starts in the background ignore it.
IN_A_TERMINAL = """
import os, pty, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""


@dataclass(frozen=True)
class Qex:
    """`kubectl qex` with the kubeconfig of a user, in an empty home directory."""

    kubeconfig: Path
    home: Path
    namespace: str

    def __call__(
        self, *arguments: str, code: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in the namespace until it exits, and check its exit code."""
        return self.anywhere(*arguments, "--namespace", self.namespace, code=code, env=env)

    def anywhere(
        self, *arguments: str, code: int | None = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command without a namespace."""
        done = subprocess.run(
            ["kubectl", "qex", *arguments],
            env=self.environment(env or {}),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr
        assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def in_process(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command in this process, for tests of what kubectl answers: starting Python takes half a second."""
        variables: dict[str, str | None] = dict.fromkeys(os.environ) | self.environment({})
        done = CliRunner().invoke(program, arguments, prog_name="kubectl qex", env=variables)
        errors, exit_code = done.stderr, done.exit_code
        if isinstance(done.exception, Failed):
            errors += f"Error: {done.exception}\n"  # as `main` reports it
        else:
            assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert exit_code == code, f"exit code {exit_code}\n{done.stdout}\n{errors}"
        return subprocess.CompletedProcess(arguments, exit_code, done.stdout, errors)

    def terminal(self, *arguments: str) -> "Terminal":
        """Start the command in the namespace, in a terminal."""
        command = ["kubectl", "qex", *arguments, "--namespace", self.namespace]
        return Terminal(command, self.environment({"TERM": "dumb"}), self.home)

    def with_kubeconfig(self, content: Mapping[str, Any], name: str = "config") -> Self:
        """The same command with another kubeconfig."""
        path = self.home / name
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **content}))
        return replace(self, kubeconfig=path)

    def json(self, *arguments: str) -> Any:
        """Run a command that prints JSON."""
        return json.loads(self(*arguments).stdout)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment variables of the command, without those of the developer."""
        path = f"{installed('kubectl').parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), "KUBERC": "off"}
        return {**own, "TZ": "Europe/Zurich", **more}


class Terminal:
    """A command in a terminal: what it shows, and the keys that a user presses. The end of the block kills it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self.shown = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", IN_A_TERMINAL, *command],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def until(self, text: str) -> str:
        """Wait until the terminal shows a text, and return everything that it has shown, without line breaks."""
        while text not in self.shown:
            assert self._read(), f"the command ended without {text!r}: {self.shown}"
        return re.sub(r"\s+", " ", self.shown)

    def press(self, keys: str) -> None:
        """Press keys, such as `y` and Enter."""
        assert self._process.stdin
        self._process.stdin.write(keys.encode())

    def interrupted(self) -> int:
        """Press Ctrl-C until the command ends. Python misses one that comes right before it waits for input."""
        reading = True
        while reading:
            with suppress(BrokenPipeError):  # it has just ended
                self.press(CTRL_C)
            while select.select([self._process.stdout], [], [], 1)[0] and reading:
                reading = self._read()
        return self._process.wait(HANG_SECONDS)

    def ended(self) -> int:
        """Wait until the command ends, and return its exit code."""
        while self._read():
            pass
        return self._process.wait(HANG_SECONDS)

    def _read(self) -> bool:
        """Read what the terminal shows next. False if the command has ended."""
        assert self._process.stdout
        readable, _, _ = select.select([self._process.stdout], [], [], HANG_SECONDS)
        assert readable, f"timed out: {self.shown}"
        new = self._process.stdout.read(4096)
        self.shown += new.decode(errors="replace")
        return bool(new)
