-- To publish to this file changes a row; what watches it follows.
-- @param id integer
-- @param gate string
-- @param delay integer
-- @param status string
update departures set gate = :gate, delay = :delay, status = :status where id = :id;
