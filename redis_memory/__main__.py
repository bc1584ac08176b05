"""`python -m redis_memory`: the command `redis-memory`."""

import sys

from redis_memory.cli.main import main

sys.exit(main())
