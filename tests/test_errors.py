"""Messages for users are one short line."""

from __future__ import annotations

from synthreal.errors import LONGEST, UserError, one_line


def test_a_message_is_one_line_whose_remedy_is_kept():
    assert str(UserError("a:\n  b;\tc")) == "a: b; c"
    message = str(UserError(f"file.json: damaged ({'x' * 5000}); delete it"))
    assert len(message) == LONGEST
    assert message.startswith("file.json: damaged (xxx") and message.endswith("xxx); delete it")
    assert one_line("y" * LONGEST) == "y" * LONGEST
