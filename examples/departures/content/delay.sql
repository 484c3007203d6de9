-- Publish {"id":…,"delay":…} here to change the delay of a flight, in minutes.
-- @param id integer
-- @param delay integer
UPDATE flight SET delay = :delay WHERE id = :id
RETURNING id, delay
