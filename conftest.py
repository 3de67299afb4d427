"""What ``suites/`` and ``tests/`` both need: pytest's own plugin tester for the latter."""

pytest_plugins = ["pytester"]
