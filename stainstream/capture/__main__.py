"""``python -m stainstream.capture``: the capture process; its orders come over stdin."""

from .worker import main

main()
