"""Redis between processes: news of what was committed, and who is at work.

Without it clients are late, never wrong (L5).
"""
