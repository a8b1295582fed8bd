"""How many examples a property tries: few in each run of the tests, more in a campaign.

`CTEMPLATE_EXAMPLES=20 make test-unit` tries twenty times as many.
"""

import os

FACTOR = int(os.environ.get("CTEMPLATE_EXAMPLES", "1"))


def examples(count):
    return count * FACTOR
