"""The browser that the tests drive: the system's Chromium or Chrome, installed by apt-get where there is none.

    python tests/browser/chromium.py

Playwright's own browsers are not used: they are downloads outside of any package registry.
"""

import os
import shutil
import subprocess
import sys

# Ubuntu's chromium-browser comes last: in a container it is a script that only says that it needs a snap.
NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
PACKAGES = ("chromium", "fonts-liberation")
MANUALLY = "install Chromium or Google Chrome, so that chromium or google-chrome is on the PATH"


def find() -> str | None:
    """The path of a browser that starts."""
    for path in filter(None, map(shutil.which, NAMES)):
        if subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0:
            return path
    return None


def install() -> str:
    """A browser that is there or has been installed; -> its path. Ends with one line where it cannot be."""
    if (path := find()) is not None:
        return path
    if shutil.which("apt-get") is None:
        sys.exit(f"make test-browser: there is no browser, and no apt-get to install one: {MANUALLY}")
    is_root = os.geteuid() == 0
    if not is_root and shutil.which("sudo") is None:
        sys.exit(f"make test-browser: there is no browser; apt-get needs root, and there is no sudo: {MANUALLY}")
    apt = [*([] if is_root else ["sudo"]), "apt-get", "--quiet=2"]
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        if subprocess.run([*apt, *words], env=environment, stdout=sys.stderr, check=False).returncode != 0:
            sys.exit(f"make test-browser: apt-get {words[0]} has failed: {MANUALLY}")
    if (path := find()) is None:
        sys.exit(f"make test-browser: {PACKAGES[0]} is installed, and does not start: {MANUALLY}")
    return path


if __name__ == "__main__":
    print(f"browser: {install()}")
