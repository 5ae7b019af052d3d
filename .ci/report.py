"""What a run of the tests says in its JUnit report.

report.py failed REPORT              the tests that failed, one a line
report.py passed REPORT              how many tests passed
report.py lacking REPORT [PACKAGE…]  the tests skipped for want of anything but these packages; fails if there is one
"""

import sys
import xml.etree.ElementTree as tree


def name(case: tree.Element) -> str:
    """The test, as the report calls it."""
    return f"{case.get('classname')}::{case.get('name')}"


def failed(case: tree.Element) -> bool:
    """Whether the test, its set-up or its clean-up failed."""
    return case.find("failure") is not None or case.find("error") is not None


def lacking(case: tree.Element, absent: list[str]) -> str | None:
    """Why the test was skipped, if something that can be installed would have let it run."""
    for skip in case.iter("skipped"):
        reason = skip.get("message") or ""
        wanting = any(words in reason for words in ("not installed", "could not import"))
        if wanting and not any(package in reason for package in absent):
            return reason
    return None


def main(what: str, report: str, *absent: str) -> int:
    cases = list(tree.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it
    if what == "failed":
        sys.stdout.writelines(f"{each}\n" for each in sorted({name(case) for case in cases if failed(case)}))
    elif what == "passed":
        print(sum(not failed(case) and case.find("skipped") is None for case in cases))
    else:
        reasons = {name(case): reason for case in cases if (reason := lacking(case, list(absent))) is not None}
        for each, reason in reasons.items():
            print(f"ci: skipped for want of something that can be installed: {each}: {reason}")
        return bool(reasons)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
