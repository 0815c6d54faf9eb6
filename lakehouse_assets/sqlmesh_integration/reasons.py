"""Why something did not work, in a sentence: the reason first, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable

# How SQLMesh writes down where in a project's Python an error was raised; the error itself is the context of its own.
EVALUATED = re.compile(r"""File ['"](.+?)['"] \(or imported file\), line (\d+), in (\w+)""")
HELD = re.compile(
    r'Could not set lock on file "(?P<file>[^"]+)"(?:: Conflicting lock is held in (?P<holder>[^\n]+?\)))?'
)
LOCKED = " is locked"
WAITED = re.compile("lock timeout|database is locked|LockNotAvailable|Lock wait timeout", re.IGNORECASE)


class ModelsError(Exception):
    """What whoever works with the models can act on; the message is whole sentences."""


def error_sentence(error: BaseException) -> str:
    """What an error says; of an error in the project's Python also where, of a lock what is locked, and by whom."""
    while type(error).__name__ == "NodeExecutionFailedError" and error.__cause__ is not None:
        error = error.__cause__  # SQLMesh's own says only of which model it is
    text = str(error)
    if locked := _locked(text):
        return locked
    where = ""
    while (places := EVALUATED.findall(str(error))) and error.__context__ is not None:
        file, line, function = places[-1]
        where, error = where or f" (line {line} of {function} in {file})", error.__context__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:800]}{where}" if text else f"{type(error).__name__}{where}"


def traceback_of(error: BaseException) -> str:
    """SQLMesh's account of an error in the project's Python, with the lines of code; empty for any other error."""
    return str(error) if EVALUATED.search(str(error)) else ""


def _locked(text: str) -> str | None:
    if held := HELD.search(text):
        holder = f" by {held['holder']}" if held["holder"] else ""
        return (
            f"{held['file']}{LOCKED}{holder}: DuckDB lets one process at a time write to a file. Let that process end, "
            "or keep the state in PostgreSQL, which has no such limit"
        )
    if WAITED.search(text):
        return f"the database{LOCKED} by another session, which did not end in time: {text.splitlines()[0]}"
    return None


def is_lock(reason: str) -> bool:
    """Whether this sentence says that something is locked: then nothing is wrong with the project."""
    return LOCKED in reason


def remedy(reasons: Iterable[str], again: str) -> str:
    """What to do after these failures: `again` says how the act is done once more."""
    if all(is_lock(reason) for reason in reasons):
        return f"Nothing is wrong with the project: {again} when it is free."
    return f"Fix the model or its source, then {again}."
