# SPDX-License-Identifier: Apache-2.0
"""What the tests of `accel report` share: the page's data, and a browser."""
import html.parser
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
ACCEL = str(BUILD / "bin" / "accel")
SKIPPED = 77


def report(*arguments, cwd=None, **options):
    """Exit code, standard output and standard error."""
    result = subprocess.run([ACCEL, "report", *map(str, arguments)], cwd=cwd, capture_output=True,
                            stdin=subprocess.DEVNULL, timeout=120, check=False, **options)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


class Page(html.parser.HTMLParser):
    """What a browser would find: the elements, and the data in the script elements."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.kinds, self.data, self.inside = [], [], [], False
        self.feed(text)
        self.close()
        texts = {"run": [], "history": [], "system": []}
        for kind, part in zip(self.kinds, self.data):
            texts[kind].append(json.loads(part))
        self.runs = texts["run"]
        for run, history, system in zip(self.runs, texts["history"], texts["system"]):
            run["history"], run["system"] = series(history), series(system)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self.inside = tag == "script" and attributes.get("type") == "application/json"
        if self.inside:
            self.kinds.append(attributes["class"])
            self.data.append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.data[-1] += data


def series(table):
    """{name: [(step, seconds, value), ...]}"""
    return {name: list(zip(table["rows"][m["rows"]]["step"], table["rows"][m["rows"]]["time"],
                           m["values"]))
            for name, m in table["metrics"].items()}


def page_of(*arguments):
    code, out, err = report("-o", "-", *arguments)
    assert code == 0, err
    return Page(out)


def self_contained(page):
    """Nothing is loaded, and no script is there but the page's own."""
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert not {"src", "srcset", "data", "poster"} & set(attributes), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), attributes
        assert attributes.get("href", "#").startswith("#"), attributes
    scripts = [a for t, a in page.elements if t == "script" and a.get("type") != "application/json"]
    assert len(scripts) == 1 and re.fullmatch("[0-9a-f]{32}", scripts[0]["nonce"]), scripts
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and scripts[0]["nonce"] in policy, policy


def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        print("skipped: not installed: chromium")
        sys.exit(SKIPPED)
    return found


def end_strays(profile):
    """The crash handler leaves the group: it is known by this profile's name."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if profile.encode() in pathlib.Path(f"/proc/{entry}/cmdline").read_bytes():
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            pass  # gone meanwhile


def browse(page, *arguments):
    """Standard output of a browser that has this page open. It has no network, and its processes
    are a group of their own that is ended with it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                   "--no-first-run", "--disable-background-networking", "--disable-component-update",
                   "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
                   f"--user-data-dir={profile}", "--virtual-time-budget=5000", *arguments, page]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, "HOME": profile, "TMPDIR": profile})
        try:
            out, err = process.communicate(timeout=100)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            end_strays(profile)
        assert process.returncode == 0, err.decode(errors="replace")
        return out.decode()
