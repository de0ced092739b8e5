# Home Assistant >= 2026.9 puts probatio behind the name `voluptuous` when it is imported, and types
# its own interfaces with the classes of probatio. mypy reads this file instead of the voluptuous that
# is installed as well.
from probatio import *
