#!/usr/bin/env python
"""Every command of ovauth: `uv run manage.py serve` is the main one."""

import os
import signal
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from ovauth.management.program import Program

    try:
        Program(sys.argv).execute()
    except KeyboardInterrupt:
        sys.exit(130)
elif __name__ == "__mp_main__":
    # A worker of `serve`. Ctrl-C reaches every process of the terminal; the parent tells its workers when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
