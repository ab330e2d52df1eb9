"""The users, in users.json: for each name a hash of the password. `python users.py ada` adds ada, or changes hers."""

import getpass
import json
import os
import re
import sys
from pathlib import Path

from werkzeug.security import check_password_hash, generate_password_hash

FILE = Path(__file__).with_name("users.json")
UNKNOWN = generate_password_hash(os.urandom(16).hex())  # an unknown name takes as long as a wrong password


def all_users():
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def has_password(name, password):
    return check_password_hash(all_users().get(name, UNKNOWN), password)


if __name__ == "__main__":
    name = sys.argv[1]
    if not re.fullmatch(r"[a-z0-9_-]{1,40}", name):  # it is a part of a topic, where # and , mean something
        sys.exit("a name has letters from a to z, digits, - and _")
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    changed = json.dumps({**all_users(), name: generate_password_hash(password)})
    new = FILE.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(changed)
    new.replace(FILE)  # so that a login meanwhile finds the old file or the new one, and no half
