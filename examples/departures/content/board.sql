-- The flights of the board, up to 300.
-- @param origin string = ""
-- @param date string = ""
-- @param search string = ""
-- @param late boolean = false
-- @key id
SELECT f.id, f.scheduled, f.delay, f.recorded, f.distance,
       f.origin, o.city AS origin_city, f.destination, d.city AS destination_city
FROM flight f
JOIN airport o ON o.iata = f.origin
JOIN airport d ON d.iata = f.destination
WHERE (:origin = '' OR f.origin = :origin)
  AND (:date = '' OR f.scheduled >= :date AND f.scheduled < date(:date, '+1 day'))
  AND (:search = '' OR instr(lower(d.city || ' ' || d.iata), lower(:search)) > 0)
  AND (NOT :late OR f.delay >= 15)
ORDER BY f.scheduled, f.id
LIMIT 300
