"""An answer on its way to a PostgreSQL client: pulled piece by piece, ended whatever becomes of its reader."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from anyio import to_thread

from lakehouse.query.engine.admission import Turn
from lakehouse.query.engine.postgres_rows import PgRows
from lakehouse.query.engine.postgres_types import pg_type, type_modifier
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.service import HELD_BACK_BYTES, Reply
from lakehouse.query.postgres.messages import columns_message, split_rows


class Rows:
    """The rows of one statement."""

    def __init__(self, reply: Reply, turn: Turn | None, form: PgRows, gave: Callable[[int, int], None]):
        self.reply = reply
        self._form = form
        self._gave = gave
        self._turn = None if reply.is_whole else turn
        self._left = b"".join(reply.body) if reply.is_whole else b""
        self._lock = threading.Lock()
        self._given = 0
        self._is_over = False
        self.stopped = ""
        """Why it was ended from here, for its reader."""

    @property
    def is_held(self) -> bool:
        """Whether a worker is at it."""
        return self._turn is not None and not self.reply.is_whole and not self._is_over

    @property
    def header(self) -> bytes:
        """RowDescription."""
        return described(self.reply.columns, self._form)

    async def next(self, most: int = 0) -> tuple[bytes, int]:
        """The next rows, `most` at most (0: any number), and how many; nothing at the end.

        Raises:
            QueryError: the statement failed or was stopped, or a limit of the service cut the answer.
        """
        if not self._left:
            self._left = await self._piece()
        if not self._left:
            if self.reply.cut:
                raise QueryError(
                    "too-large", f"The answer has more {self.reply.cut} than one may have: {self.reply.rows:,} rows "
                    "were sent. Ask for fewer with LIMIT, WHERE or a sum.",
                )  # fmt: skip
            count = max(0, self.reply.rows - self._given)
            self._gave(count, 0)
            return b"", count
        if not most:
            piece, self._left = self._left, b""
            self._gave(0, len(piece))
            return piece, 0
        end, count = split_rows(self._left, most)
        piece, self._left = self._left[:end], self._left[end:]
        self._given += count
        self._gave(count, len(piece))
        return piece, count

    async def _piece(self) -> bytes:
        if self.stopped:
            raise QueryError("time-limit", self.stopped)
        if self._is_over:
            return b""
        if self.reply.is_whole and self._turn is None:
            return b""
        found = await to_thread.run_sync(self._next, abandon_on_cancel=True)
        if found is None:
            self._is_over = True
            self._give_back()
        return found or b""

    def _next(self) -> bytes | None:
        with self._lock:
            return next((piece for piece in self.reply.body if piece), None)

    @property
    def size_bytes(self) -> int:
        """What is held of it here, at most."""
        return len(self._left) + (HELD_BACK_BYTES if self.is_held else 0)

    def cancel(self) -> None:
        """Stop the statement; whoever reads is told."""
        if self._turn and self.is_held:
            self._turn.cancellation.cancel()

    async def close(self) -> None:
        """Stop what is left of it and give its worker back."""
        self.cancel()
        self._left, self._is_over = b"", True
        with suppress(QueryError):
            await to_thread.run_sync(self._close)
        self._give_back()

    def _close(self) -> None:
        with self._lock:
            self.reply.close()

    def _give_back(self) -> None:
        if self._turn:
            self._turn.end()
            self._turn = None


class HeldAnswers:
    """What all sessions together hold of answers that are not read to their end."""

    def __init__(self, most_bytes: int):
        self._most = most_bytes
        self._bytes: dict[object, int] = {}

    def put(self, session: object, size_bytes: int) -> bool:
        """Whether there is room for what this one holds now."""
        self._bytes.pop(session, None)
        if not size_bytes:
            return True
        if size_bytes + sum(self._bytes.values()) > self._most:
            return False
        self._bytes[session] = size_bytes
        return True


def described(columns: Sequence[tuple[str, str]], form: PgRows) -> bytes:
    """RowDescription of columns by name and DuckDB type."""
    told = []
    for number, (name, kind) in enumerate(columns):
        one = pg_type(kind)
        told.append((name, one.oid, one.size, type_modifier(kind), int(form.is_binary(number))))
    return columns_message(told)
