-- The attribute that is changed, as a script of its own or one of several in a replay.
--
-- A container's field is its descriptor: kind, version, base, shift, inner, size. Base is the version
-- from which on a list was only appended to: of two states with one base the longer begins with the
-- shorter; of a dict or set it is the version at which it was assigned or emptied. Shift is the version
-- of the last change that moved elements to other indexes, inner of the last change that did so in a
-- list inside an element. A scalar's field is kind, version and then the value. Versions are
-- hexadecimal, in 13 digits until the year 2112, so that a descriptor mostly stays within the 64
-- bytes up to which the server stores a hash compactly. Kinds: l list, d dict, e set, n a number as
-- text, v any other value.
local stamps = KEYS[3]
local known, operation, at, final
-- 'begun' instead when it is the first attribute of a memory: its writer then sees to its directory entry
local outcome = 'ok'
local kind, base, shift, inner, size, missed, elements
-- in a replay: of several keys of a dict, those that are left alone, by the index of their arguments; of
-- all attributes, those that a `clear` leaves alone, by name, and what finds them
local passed_over, spare_newer
-- among several changes that are made as one: the caller's state has been found to be the newest
local is_assured
