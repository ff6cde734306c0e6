"""Hypothesis strategies for what may stand in heads and messages."""

from __future__ import annotations

from hypothesis import strategies as st

# A value loses spaces and tabs at its ends; CR, LF and NUL are refused.
HEADER_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=40).map(
    lambda text: text.strip(" \t")
)
HEADER_TEXT_1 = HEADER_TEXT.filter(bool)
ASCII_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)
TOKEN = st.text(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEF", min_size=1, max_size=20
)
PLAIN_JSON = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=40
)
BODY = st.binary(max_size=200)
OPTIONAL = st.none() | HEADER_TEXT_1
