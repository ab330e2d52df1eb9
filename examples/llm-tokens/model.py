"""A stand-in for a language model: it knows one answer, and takes its time. README.md has the lines for a real one."""

import time

ANSWER = """I am **no language model**, only a stand-in for one, and this is what I say to every question.

1. The callback publishes each token as the model says it.
2. The page adds it to the text that is there.
3. What a page misses while it is disconnected it gets when it is back, in order and once.
"""


def stream(question):
    """Yield the answer token by token. question: what a real model would get."""
    for token in ANSWER.split(" "):
        time.sleep(0.02)
        yield token + " "
