"""Vendors of language models, as real HTTP servers on loopback: their formats, their faults, and what was asked.

with Vendors(say("Hello")) as vendors:
    vendors.url("openai")       the base URL to configure
    vendors.next(fault("failing"))   what the next request meets, before what was given at the start
    vendors.calls               every request: body, headers, what was sent, how it ended
    vendors.calls[0].said       its messages as (role, text)

plays              what a vendor does with one request
openai_chat, openai_responses, anthropic, google   the formats
asked              reading a request
server             the server
"""

from tests.vendors.plays import Play, cut, fault, give, hang, refuse, say
from tests.vendors.server import Call, Vendors

__all__ = ["Call", "Play", "Vendors", "cut", "fault", "give", "hang", "refuse", "say"]
