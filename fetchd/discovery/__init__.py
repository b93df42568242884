"""Finding out where the mailbox of an address is: SRV records, autoconfig, and a look at the usual names.

Each finding says where it comes from, and whether that source can be believed: what unsigned DNS alone says may be
anybody's word, and whoever believes it sends a password there. Nothing here asks a person, and nothing is kept.
"""

from fetchd.discovery.address import MailAddress, parse_address
from fetchd.discovery.finding import Finding, Findings
from fetchd.discovery.search import guesses, search

__all__ = ["Finding", "Findings", "MailAddress", "guesses", "parse_address", "search"]
