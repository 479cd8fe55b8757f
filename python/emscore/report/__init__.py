"""One page about scored files, that a person would send to a colleague.

reading.py   the rows, counted once, and the rates that sections ask for
gallery.py   one pass over the texts: examples, and where answers lie
sections.py  each section of the page: its numbers, plot, table and words
page.py      all of it as one HTML file (page.html, page.css, page.js)
write.py     files in, a page and pictures out
"""

from .. import plot  # noqa: F401 - says what to install where it is missing
