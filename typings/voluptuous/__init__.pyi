# Home Assistant >= 2026.9 puts probatio behind the name `voluptuous` when it is imported, and types its own
# interfaces with probatio's classes. mypy reads this instead of the voluptuous that is installed as well.
from probatio import *
