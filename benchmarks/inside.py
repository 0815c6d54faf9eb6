"""`python -m benchmarks.inside package.module:function '{"argument": …}' answer.json`: a call in its own process."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    """Call it and write what it gives as JSON."""
    target, arguments, answer = sys.argv[1:]
    module, function = target.split(":")
    given = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    Path(answer).write_text(json.dumps(given))


if __name__ == "__main__":
    main()
