"""What the server's main process tells its runner, over the runner's standard input.

One byte each. The end of the file says that the main process is gone, however it died; no number of
a process that could be reused has to be watched for that.
"""

from enum import Enum

# As an argument of the runner, says that its standard input is such a pipe.
ORDERS_ON_STDIN = "--orders-on-stdin"


class Order(Enum):
    """DRAIN: end within the grace. NOW: end at once."""

    DRAIN = b"d"
    NOW = b"n"
