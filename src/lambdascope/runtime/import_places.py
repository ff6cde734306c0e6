"""What import_hints knows beforehand: places that modules are put by mistake, names, versions.

Tables and one search. Sources: the Python documentation, "What's New" (removed modules, syntax);
the AWS Lambda developer guide, "Packaging your layer content" (folders of a layer).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.import_search import Search

LAYERS = "/opt"
_MAX_DEPTH = 2
_ENVIRONMENTS = (".venv", "venv", "env")

# Modules that Python had, and the version that removed them.
REMOVED = dict.fromkeys(("asynchat", "asyncore", "distutils", "imp", "smtpd"), (3, 12))
REMOVED |= dict.fromkeys(
    (
        *("aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "mailcap"),
        *("msilib", "nis", "nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau"),
        *("telnetlib", "uu", "xdrlib"),
    ),
    (3, 13),
)

# Import names whose distribution has another name.
DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "attr": "attrs",
    "aws_lambda_powertools": "aws-lambda-powertools",
    "aws_xray_sdk": "aws-xray-sdk",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "google": "protobuf",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "MySQLdb": "mysqlclient",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}


def needed_version(line: str) -> tuple[tuple[int, int], str] | None:
    """The Python that a line of source may need, and for what."""
    import re

    if re.match(r"type\s+\w+(\[.*\])?\s*=", line):
        return (3, 12), "Type statements"
    if re.match(r"((async\s+)?def|class)\s+\w+\s*\[", line):
        return (3, 12), "Type parameters in brackets"
    if re.match(r"except\s+\w[\w.]*\s*,", line):
        return (3, 14), "Several exceptions without parentheses"
    if re.search(r"\b(t|tr|rt)([\"'])", line, re.IGNORECASE):
        return (3, 14), "Template strings"
    if re.search(r"\b[fF][rR]?[\"'].*\{", line):
        return (3, 12), "Quotes or backslashes within the braces of an f-string"
    return None


def find(search: Search, root: str, name: str, *, in_packages: bool) -> str:
    """A folder that has the module and is not on sys.path; "" when it is in none of the usual.

    `in_packages`: also within packages, which may keep modules of any name for themselves.
    """
    known = {os.path.normpath(path or ".") for path in search.paths()}
    for folder in [*_places(search, root), *_below(search, root, in_packages=in_packages)]:
        if search.spent:
            break
        if os.path.normpath(folder) not in known and _has(search, folder, name):
            return folder
    return ""


def _has(search: Search, folder: str, name: str) -> bool:
    source = search.modules(folder).get(name, "")
    # A folder is a package only where it has a module in it: `static/` is none.
    inside = search.entries(os.path.join(folder, name)) if source.endswith("/") else {}
    return bool(source) and (
        not source.endswith("/") or any(each.endswith((".py", ".so")) for each in inside)
    )


def _places(search: Search, root: str) -> list[str]:
    places = [LAYERS] if os.path.isdir(LAYERS) else []
    for folder in (LAYERS, root):
        libraries = [os.path.join(folder, "python", "lib"), os.path.join(folder, "lib")]
        if folder == root:
            places.append(os.path.join(root, "python"))
            libraries += [os.path.join(root, each, "lib") for each in _ENVIRONMENTS]
        for library in libraries:
            versions = [name for name in search.entries(library) if name.startswith("python")]
            places += [os.path.join(library, name, "site-packages") for name in versions]
    return places


def _below(search: Search, root: str, *, in_packages: bool) -> list[str]:
    """The folders in the task root, and those in them."""
    found: list[str] = []
    level = [root]
    for _ in range(_MAX_DEPTH):
        inner = [
            os.path.join(folder, name)
            for folder in level
            for name, is_folder in search.entries(folder).items()
            if is_folder and not name.startswith((".", "__")) and not name.endswith("-info")
        ]
        level = [each for each in inner if in_packages or "__init__.py" not in search.entries(each)]
        found += level
    return found
