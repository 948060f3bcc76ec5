"""Hypothesis strategies for addresses and for texts that are nearly addresses."""

from hypothesis import strategies as st

LOCAL_PARTS = st.from_regex(r"[a-z0-9+_'-]{1,12}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,3})?\.(example\.)?(com|org|net)", fullmatch=True)
PLAIN_ADDRESSES = st.builds("{}@{}".format, LOCAL_PARTS, DOMAINS)
NEAR_ADDRESSES = st.text(st.sampled_from("aZ09.@-_+' xné\u0130ß\u212a\uff41\u0301\n\t,;<>\"()[]:\\"), max_size=30)
"""Texts at the edges of the rules for addresses."""
