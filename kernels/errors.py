"""The errors of ssdprof. All end in Error and share one root, so one place can turn them into exit codes."""


class SsdprofError(Exception):
    """Root of every error that ssdprof raises on purpose; its text is one line for the user."""


class UsageError(SsdprofError):
    """The user asked for something impossible: says what is wrong, the rule, and what to do instead (exit code 2)."""


class ConfigError(UsageError):
    """A launch configuration that cannot be read or that the kernel cannot take."""


class ProblemError(UsageError):
    """A problem that cannot exist: a size that is not positive, heads that do not divide, an unknown dtype."""


class SpaceError(UsageError):
    """A configuration space that is unknown or malformed; names the entry."""


class TensorError(SsdprofError):
    """A tensor that a kernel cannot take: names it, the rule and what was given."""


def first_line(message: str, length: int = 240) -> str:
    """The first line of `message` that is not blank, cut at `length` characters."""
    lines = (line.strip() for line in message.splitlines())
    line = next((line for line in lines if line), "no message")
    return line if len(line) <= length else line[: length - 1] + "…"
