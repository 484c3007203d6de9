-- Watched, this is a live table: it is run again when a row that it reads has changed.
-- @param search string = ""
-- @key id
select id, flight, destination, gate, planned, delay, status
from departures
where :search = '' or instr(lower(flight || ' ' || destination || ' ' || gate || ' ' || status), lower(:search)) > 0
order by planned, id;
