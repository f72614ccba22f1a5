"""Copies of texts with what does not change a question: typos, other case, white space, words before and after it.

The networks train on them beside the originals, so that their estimates depend on it less. `pennyroute eval --noise` measures
the effect, with perturbations of its own.
"""

import random

BEFORE = ("Hello, ", "Hey there! ", "Hi, quick question: ", "Good morning.\n\n", "Please help me with the following.\n\n",
          "I have a question for you:\n", "Could you have a look at this one?\n\n", "Question: ", "Dear assistant,\n\n",
          "I'm stuck on this and would be glad about some help. ", "Here is my problem:\n\n", "ok so ", "Can you answer this? ")
AFTER = ("\n\nThanks!", "\nThank you in advance.", " Please explain.", "\n\nThanks a lot for your help!", "\nAny ideas?", " pls")


def typos(text: str, rng: random.Random) -> str:
    out, at = [], 0
    while at < len(text):
        c = text[at]
        if c.isascii() and c.isalpha() and rng.random() < 0.03:
            kind = rng.randrange(3)
            if kind == 0 and at + 1 < len(text) and text[at + 1].isalpha():
                out += [text[at + 1], c]
                at += 1
            elif kind == 1:
                out += [c, c]
        else:
            out.append(c)
        at += 1
    return "".join(out)


def around(text: str, rng: random.Random) -> str:
    before = rng.choice(BEFORE) if rng.random() < 0.8 else ""
    return before + text + (rng.choice(AFTER) if not before or rng.random() < 0.3 else "")


def copy(text: str, rng: random.Random) -> str:
    """Case and white space need no copy: neither ids nor features depend on them."""
    text = around(text, rng) if rng.random() < 0.6 else text
    return typos(text, rng) if rng.random() < 0.6 else text
