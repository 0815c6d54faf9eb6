"""The dashboard as a process: `python -m lakehouse.dashboard.server --host 127.0.0.1 --port 8501`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

OPTIONS = {
    "server.headless": "true",  # no browser is opened
    "server.showEmailPrompt": "false",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "runner.magicEnabled": "false",  # a string that stands alone is a docstring
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",  # what goes wrong unforeseen is for the log
}


def main() -> None:
    """Become Streamlit, so that its signals and its end are this process's own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default="8501")
    given = parser.parse_args()
    options = {**OPTIONS, "server.address": given.host, "server.port": given.port}
    app = Path(__file__).with_name("web.py")
    words = [f"--{name}={value}" for name, value in options.items()]
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", str(app), *words])


if __name__ == "__main__":
    main()
