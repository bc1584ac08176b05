-- There is an item already where one was to be created; whose copy lacks it is told.
local function refuse_there(item)
  catch_up()
  return refuse('exists', item)
end
