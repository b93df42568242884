"""What fetchd shows of itself: the renderers of :mod:`fetchd.events`, and the HTTP endpoint that serves them.

Nothing is imported here: each renderer costs start-up time, and ``app.py`` takes only those that are configured.
"""
