"""The assistant of rules: reads what people write, and writes questions, plans and slides. Pure functions only.

wording, amounts, audience, tone, consent   small readings of a text
brief, kinds, topic                         what is understood of a wish
questions, plan                             what to ask, what to propose
outlines, slide, style, slides              the slides
references, edits, wishes, phrases, refine  changing them
intents, replies                            which move a line means; what to say around the work
"""
