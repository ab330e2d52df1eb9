"""``python -m proxy`` is ``dash-ws-proxy``."""

from proxy.cli import main

if __name__ == "__main__":
    main()
