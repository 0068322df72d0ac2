"""``python -m stainstream``."""

from .cli import main

main()
