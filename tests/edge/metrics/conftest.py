"""The daemon that the tests of this folder ask."""

from tests.support.daemons import asked as asked
