"""One line at the end of a test run that says what could not be tried here, by reason."""

from collections import Counter

import pytest


@pytest.hookimpl(hookwrapper=True, tryfirst=True)  # after the list of skips
def pytest_terminal_summary(terminalreporter):
    yield
    counts = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        if isinstance(report.longrepr, tuple):  # file, line, reason
            whole_file = report.nodeid.endswith(".py")
            counts[report.longrepr[2].removeprefix("Skipped: "), "file" if whole_file else "test"] += 1
    if counts:
        parts = [f"{n} {what}{'s' * (n > 1)} ({reason})" for (reason, what), n in counts.most_common()]
        terminalreporter.write_line("not tried here: " + ", ".join(parts))
