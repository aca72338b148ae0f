"""What can stop a build, each as one sentence that says what to do."""


class BuildError(Exception):
    """The build cannot go on; the message is one sentence for the person who started it."""


class BaseUnavailable(BuildError):
    """The base distribution is neither on disk nor to be had from a package index."""


class BaseMismatch(BuildError):
    """What was found as the base is not the release that this project names."""


class EditMismatch(BuildError):
    """An anchored edit does not match its file exactly once."""


class OverlayConflict(BuildError):
    """The project and the base disagree about which files there are."""


class EnvironmentFailed(BuildError):
    """A virtual environment could not be made or filled."""


class UnassignedFile(BuildError):
    """A file of the project belongs to no topic of the patch series."""
