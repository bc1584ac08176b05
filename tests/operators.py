"""The operators that change in place, as functions with types: the standard ones have none."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

Operator = Callable[[Any, Any], Any]

iadd: Operator = operator.iadd
imul: Operator = operator.imul
ior: Operator = operator.ior
iand: Operator = operator.iand
isub: Operator = operator.isub
ixor: Operator = operator.ixor
