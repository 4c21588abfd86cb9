"""A JSON file of tables, row by row: its content never lies in memory as a whole."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from common.utils.errors import UserError

PIECE = 2**22  # bytes read at once
BLANK = " \t\n\r"
AFTER = frozenset(BLANK + ",:]}")
LONGEST = 2**16  # characters from where a value is wrong to where the text ends: no more may be missing


class JsonStream:
    """Walks through one JSON file. `see` says where to read how to get the file.

    UserError names the file, and the place of the damage where it is damaged or cut short.
    """

    def __init__(self, path: Path, see: str):
        self.path, self.see = path, see
        self.parse = json.JSONDecoder().raw_decode

    def rows(self) -> Iterator[tuple[str, Any]]:
        """(key, row) of every row of the lists in the file's one object; other values are passed over."""
        try:
            with open(self.path, "rb") as self.file:
                self.text, self.at, self.ended = "", 0, False
                self.before, self.lines, self.line_start = 0, 0, 0  # of what was dropped from the text
                self.decode = codecs.getincrementaldecoder("utf-8")().decode
                yield from self._object()
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}; {self.see}") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is not a JSON file: {error.reason}") from None
        except RecursionError:
            raise UserError(
                f"{self.path} is damaged: its brackets are nested too deep for annotations"
            ) from None

    def _object(self) -> Iterator[tuple[str, Any]]:
        if self._next() != "{":
            self._value()  # damaged, or a whole file that is no table
            raise UserError(f"{self.path} holds no rows of images and annotations; {self.see}")
        self.at += 1
        while self._next() != "}":
            key = self._value()
            if not isinstance(key, str):
                self._damaged("Expecting property name enclosed in double quotes")
            self._expect(":")
            if self._next() == "[":
                for row in self._list():
                    yield key, row
            else:
                self._value()
            if self._next() != "}":
                self._expect(",")
        self.at += 1
        if self._next():
            self._damaged("Extra data")

    def _list(self) -> Iterator[Any]:
        self.at += 1
        if self._next() == "]":
            self.at += 1
            return
        while True:
            yield self._value()
            mark = self._next()
            self.at += 1
            if mark == "]":
                return
            if mark != ",":
                self.at -= 1
                self._damaged("Expecting ',' delimiter")

    def _value(self) -> Any:
        """The value that begins here; more of the file is read until it is complete."""
        self._next()
        while True:
            try:
                value, end = self.parse(self.text, self.at)
            except json.JSONDecodeError as error:
                if self.ended or len(self.text) - error.pos > LONGEST:
                    self.at = error.pos
                    self._damaged(error.msg)
            else:
                # a number may go on behind the end of the text, or be cut within
                if self.ended or self.text[end : end + 1] in AFTER:
                    self.at = end
                    return value
            self._read()

    def _next(self) -> str:
        """The next character that is not blank, "" at the end; it stays the next one."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in BLANK:
                    return self.text[self.at]
                self.at += 1
            if self.ended:
                return ""
            self._read()

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            self._damaged(f"Expecting '{mark}' delimiter")
        self.at += 1

    def _read(self) -> None:
        """Drop what is behind, add a piece of the file."""
        lines = self.text.count("\n", 0, self.at)
        if lines:
            self.line_start = self.before + self.text.rindex("\n", 0, self.at) + 1
        self.lines += lines
        self.before += self.at
        piece = self.file.read(PIECE)
        self.ended = not piece
        self.text = self.text[self.at :] + self.decode(piece, self.ended)
        self.at = 0

    def _damaged(self, what: str) -> NoReturn:
        lines = self.text.count("\n", 0, self.at)
        character = self.before + self.at
        start = self.before + self.text.rindex("\n", 0, self.at) + 1 if lines else self.line_start
        place = f"line {self.lines + lines + 1} column {character - start + 1} (character {character})"
        raise UserError(f"{self.path} is damaged or cut short: {what} at {place}")
