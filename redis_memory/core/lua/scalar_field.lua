local function describe_scalar(scalar, bytes, result)
  local descriptor = scalar .. format('%013x;', version)
  call('HSET', memory, name, descriptor .. bytes)
  announce('s', descriptor, bytes)
  return {number, outcome, descriptor, result}
end
