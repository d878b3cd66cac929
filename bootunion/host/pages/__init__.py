"""Self-contained HTML pages: the plan and the boot report, each made from its JSON value alone.

No template engine: every string that comes from a store has to pass `markup.text` in any case,
because odd bytes, control and bidirectional characters have to be made visible, not only `<`
and `&`. With one door for text, a builder of elements (`markup.tag`) escapes by construction, is
checked by mypy and costs the host no dependency; jinja2 would escape the five characters and leave
the rest to discipline. Style and script are files of their own beside this one.
"""

from .boot import boot_page
from .plan import plan_page

__all__ = ["boot_page", "plan_page"]
