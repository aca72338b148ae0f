"""The steps of a build that need its tools: `wheel FOLDER`, `link`, `series FOLDER`."""

import sys
from pathlib import Path

from dev.build.backend import build_wheel
from dev.build.errors import BuildError
from dev.build.live import link_here
from dev.build.series import export_series


def main(arguments: list[str]) -> None:
    match arguments:
        case ["wheel", folder]:
            build_wheel(folder)
        case ["link"]:
            link_here()
        case ["series", folder]:
            for patch in export_series(Path(folder)):
                print(patch.name)
        case _:
            sys.exit(f"usage: python -m dev.build {__doc__.split('`')[1]} ...")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BuildError as error:
        sys.exit(f"error: {error}")
