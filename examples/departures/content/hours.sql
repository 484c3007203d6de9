-- How the flights of the board are doing, by the hour in which they leave.
-- @param origin string = ""
-- @param date string = ""
-- @param search string = ""
-- @param late boolean = false
-- @key hour
SELECT CAST(substr(f.scheduled, 12, 2) AS INTEGER) AS hour,
       count(*) AS flights,
       sum(f.delay >= 15) AS late,
       sum(f.delay) AS minutes
FROM flight f
JOIN airport d ON d.iata = f.destination
WHERE (:origin = '' OR f.origin = :origin)
  AND (:date = '' OR f.scheduled >= :date AND f.scheduled < date(:date, '+1 day'))
  AND (:search = '' OR instr(lower(d.city || ' ' || d.iata), lower(:search)) > 0)
  AND (NOT :late OR f.delay >= 15)
GROUP BY 1
ORDER BY 1
