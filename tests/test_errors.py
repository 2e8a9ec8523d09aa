"""Messages for users are one short line."""

from __future__ import annotations

from synthreal.errors import LONGEST, UserError, one_line, printable
from synthreal.spec import Skipped


def test_a_message_is_one_line_whose_remedy_is_kept():
    assert str(UserError("a:\n  b;\tc")) == "a: b; c"
    message = str(UserError(f"file.json: damaged ({'x' * 5000}); delete it"))
    assert len(message) == LONGEST
    assert message.startswith("file.json: damaged (xxx") and message.endswith("xxx); delete it")
    assert one_line("y" * LONGEST) == "y" * LONGEST


def test_control_characters_of_a_file_name_are_escaped():
    assert printable("a\nb\x1b[31m\x7f\x9b\udcff é") == r"a\nb\x1b[31m\x7f\x9b\udcff é"
    assert str(UserError("a\x1b]0;b\x07.png: gone")) == r"a\x1b]0;b\x07.png: gone"
    assert Skipped("a\n.png", "not\x1b[2J read") == Skipped(r"a\n.png", r"not\x1b[2J read")
