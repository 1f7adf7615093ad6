"""All formats of recorded predictions, by name."""

from __future__ import annotations

from harness.recorded.formats.chatglm import CHATGLM
from harness.recorded.formats.disc_law import DISC_LAW
from harness.recorded.formats.format import Format
from harness.recorded.formats.lawbench import LAWBENCH
from harness.recorded.formats.lm_eval import LM_EVAL
from harness.recorded.formats.own_lines import OWN_LINES
from harness.recorded.formats.own_reports import REPORT

FORMATS: dict[str, Format] = {
    format.name: format for format in (LAWBENCH, DISC_LAW, LM_EVAL, CHATGLM, OWN_LINES, REPORT)
}
"""The formats by name, in the order in which a file is tested for them."""
