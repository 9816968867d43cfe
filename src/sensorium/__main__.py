"""``python -m sensorium``, for launchers that start a module: the same as the command ``sensorium``."""

from .cli import main

if __name__ == "__main__":
    main()
