"""The report as one page."""

from html.parser import HTMLParser

from cli.conform.findings import ConformReport, Exchange, Grade, Graded
from cli.conform.table import CheckRow, Demand
from cli.conform.webpage import webpage
from cli.conform.wire import Draft
from stun.attributes import SOFTWARE
from stun.constants import Method

HOSTILE = "<script>alert(1)</script>\x1b[31m"


class Tags(HTMLParser):
    """The tags and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in {"meta"}:
            self.open.append(tag)
        self.references += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page() -> str:
    row = CheckRow("one", Demand.MUST, "8489 §1", "It is so.", "Rule 7: Seven")
    frame = Draft(Method.BINDING).append((SOFTWARE.number, HOSTILE.encode())).encode()
    found = Graded(row, "udp 127.0.0.1:3478", "", Grade.FAILED, HOSTILE, (Exchange.of("→ server", frame),))
    return webpage(ConformReport([found], [("udp 192.0.2.1:3478", HOSTILE)], HOSTILE))


def test_it_needs_nothing_else_and_is_well_formed() -> None:
    parser = Tags()
    parser.feed(page())
    assert parser.open == []
    assert parser.references == []
    assert "script" not in parser.tags
    assert parser.tags.count("details") == 2


def test_text_of_a_server_is_text() -> None:
    assert "<script>" not in page()
    assert "&lt;script&gt;" in page()
    assert "\x1b" not in page()


def test_it_says_everything_about_a_failure() -> None:
    for words in ("Rule 7: Seven", "MUST, RFC 8489 §1", "It is so.", "Binding request", "→ server  0001", "1 MUST"):
        assert words in page()
