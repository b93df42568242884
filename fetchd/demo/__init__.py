"""A mail server and some mail to try fetchd on: nothing here is used to fetch, and nothing leaves this machine."""

from fetchd.demo.samples import sample_messages
from fetchd.demo.server import DemoServer

__all__ = ["DemoServer", "sample_messages"]
